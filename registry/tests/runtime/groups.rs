//! Process groups: many processes on several nodes under one name.

use ordu_registry::core::JoinError;

use super::{Nodes, name, until, within};

#[tokio::test]
async fn members_are_seen_everywhere_and_go_with_their_processes() {
    let mut nodes = Nodes::new();
    let (a, b) = (nodes.start("a", 1).await, nodes.start("b", 1).await);
    let (one, two, three) = (a.process(), a.process(), b.process());
    let group = name("workers");
    one.join(&group, "1").unwrap();
    two.join(&group, "2").unwrap();
    three.join(&group, "3").unwrap();
    assert_eq!(one.join(&group, ""), Err(JoinError::AlreadyMember));
    // A name of the same text is another thing.
    one.register(group.clone(), "boss").unwrap();
    assert_eq!(
        (a.count(), a.entries("").len(), a.select("", |_| true).len(), a.groups_of(one.pid())),
        (1, 1, 1, vec!["workers".to_owned()])
    );

    until(&a, |a| a.members("workers").len() == 3).await;
    until(&b, |b| b.members("workers").len() == 3).await;
    assert_eq!(a.members("workers"), b.members("workers"));
    assert_eq!((a.local_members("workers").len(), b.local_members("workers").len()), (2, 1));
    assert_eq!((a.members("work").len(), a.lookup("workers").is_some()), (0, true));

    assert!(three.update_member(&group, "drei") && !one.update_member(&name("others"), ""));
    let says = |value: &'static str| {
        move |registry: &ordu_registry::Registry| {
            let mut said = 0;
            registry.dispatch("workers", |member| said += usize::from(&member.value()[..] == value.as_bytes()));
            said == 1
        }
    };
    until(&a, says("drei")).await;

    assert!(one.leave(&group) && !one.leave(&group));
    assert_eq!(a.members("workers").len(), 2);
    until(&b, |b| b.members("workers").len() == 2).await;
    drop(two);
    until(&b, |b| b.members("workers").len() == 1).await;
    // Whose node is gone is no member.
    within(b.shutdown()).await;
    until(&a, |a| a.members("workers").is_empty()).await;
    within(a.shutdown()).await;
}

//! Listeners: what happened, to what, and why.

use ordu_registry::core::Gone;
use ordu_registry::events::NAME_EVENTS_MAX;
use ordu_registry::{ListenError, NameEvent};

use super::{Nodes, hold, name, shows, until, within};

#[tokio::test]
async fn reasons_are_told_and_other_prefixes_are_not() {
    let mut nodes = Nodes::new();
    let (a, b) = (nodes.start("a", 1).await, nodes.start("b", 1).await);
    let (mut here, mut there) = (a.listen("x/"), b.listen("x/"));
    let (process, leaver) = (a.process(), a.process());
    process.register(name("x/1"), "1").unwrap();
    process.register(name("y/1"), "").unwrap();
    process.update_value(&name("x/1"), "2");
    until(&b, |b| shows(b, "x/1", &process)).await;
    leaver.join(&name("x/group"), "").unwrap();
    until(&b, |b| !b.members("x/group").is_empty()).await;
    process.unregister(&name("x/1"));
    until(&b, |b| b.lookup("x/1").is_none()).await;
    leaver.end();

    let mut told = [Vec::new(), Vec::new()];
    for (listener, told) in [&mut here, &mut there].into_iter().zip(&mut told) {
        while told.last() != Some(&"left".to_owned()) {
            match within(listener.next()).await.unwrap() {
                NameEvent::Registered(_) => told.push("registered".to_owned()),
                NameEvent::Updated(_) => told.push("updated".to_owned()),
                NameEvent::Released { why, .. } => told.push(format!("{why:?}")),
                NameEvent::Joined(_) => told.push("joined".to_owned()),
                NameEvent::Left { why, .. } => told.extend([format!("{why:?}"), "left".to_owned()]),
                other => told.push(format!("{other:?}")),
            }
        }
    }
    assert_eq!(told[0], ["registered", "updated", "joined", "Released", "Ended", "left"]);
    // There the value may have come with the name.
    told[1].retain(|told| told != "updated");
    assert_eq!(told[1], ["registered", "joined", "Dropped", "Dropped", "left"]);

    let last = b.process();
    last.register(name("x/2"), "").unwrap();
    until(&a, |a| shows(a, "x/2", &last)).await;
    within(b.shutdown()).await;
    let gone = loop {
        if let NameEvent::Released { why, .. } = within(here.next()).await.unwrap() {
            break why;
        }
    };
    assert!(matches!(gone, Gone::NodeLeft | Gone::Dropped), "{gone:?}");
    within(a.shutdown()).await;
}

#[tokio::test]
async fn a_lost_conflict_is_the_reason() {
    let mut nodes = Nodes::new();
    let a = nodes.start("a", 1).await;
    let older = a.spawn(hold);
    until(&a, |a| shows(a, "held", &older)).await;
    let b = nodes.start("b", 1).await;
    let mut events = b.listen("held");
    let younger = b.spawn(hold);
    within(younger.exited()).await;
    let mut lost = None;
    while lost.is_none() {
        if let NameEvent::Released { pid, why, .. } = within(events.next()).await.unwrap() {
            lost = Some((pid, why));
        }
    }
    assert_eq!(lost, Some((younger.pid().clone(), Gone::ConflictLost)));
    within(b.shutdown()).await;
    within(a.shutdown()).await;
}

#[tokio::test]
async fn who_is_too_slow_is_told_how_much_is_missing() {
    let node = Nodes::new().start("a", 1).await;
    let mut events = node.listen("x");
    let process = node.process();
    process.register(name("x"), "").unwrap();
    for number in 0..NAME_EVENTS_MAX + 9 {
        process.update_value(&name("x"), number.to_string());
    }
    assert_eq!(events.try_next(), Err(ListenError::Missed(10)));
    let mut left = 0;
    while let Some(event) = events.try_next().unwrap() {
        assert!(matches!(event, NameEvent::Updated(_)));
        left += 1;
    }
    assert_eq!(left, NAME_EVENTS_MAX);
    within(node.shutdown()).await;
}

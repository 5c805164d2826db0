//! Three nodes in one process, on loopback, and a child that is an async function: it runs on one of them, survives that
//! node's crash on a second, and that one's leaving on the third. Never twice at a time, and with a higher fence each time.
//!
//!     cargo run -p ordu-supervisor --example counter
//!
//! Ends by itself: 0 if all of that happened, something else if not.

use std::error::Error;
use std::time::Duration;

use ordu_registry::core::Name;
use ordu_supervisor::core::{ChildId, ChildRow, ChildSpec, ChildStatus};
use ordu_supervisor::{Context, Kinds, Supervisor, SupervisorConfig};
use ordu_transport::core::NodeName;
use ordu_transport::{CertificateAuthority, Cluster, ClusterConfig, TlsMaterial};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

/// How long each step may take.
const STEP_MAX: Duration = Duration::from_secs(20);

/// The child: counts, and shows how far it is as a value in the registry.
async fn count(ctx: Context) -> Result<(), Box<dyn Error + Send + Sync>> {
    let name = Name::new("counter/value")?;
    ctx.register(name.clone(), "0")?;
    println!("  counter: on {} with fence {}", ctx.node(), ctx.fence());
    for number in 1.. {
        tokio::select! {
            () = ctx.stopping() => break,
            () = sleep(Duration::from_millis(50)) => {}
        }
        ctx.registry().update_value(ctx.pid(), &name, number.to_string());
    }
    println!("  counter: stops on {}", ctx.node());
    Ok(())
}

/// A node on a runtime of its own, so that it can crash by itself.
struct Node {
    supervisor: Supervisor,
    runtime: Runtime,
}

fn main() -> Result<(), Box<dyn Error>> {
    Builder::new_current_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let authority = CertificateAuthority::generate()?;
    authority.save(dir.path())?;
    let mut nodes: Vec<Node> = Vec::new();
    for name in ["n1", "n2", "n3"] {
        let join = nodes.iter().map(|node| node.supervisor.cluster().addr().to_string()).collect();
        nodes.push(start(NodeName::new(name)?, &authority, join).await?);
    }
    for node in &nodes {
        let offers = |supervisor: &Supervisor| supervisor.members().iter().filter(|row| !row.kinds.is_empty()).count();
        timeout(STEP_MAX, node.supervisor.wait_until(|supervisor| offers(supervisor) == 3)).await?;
    }

    println!("start it from n1, wherever it runs");
    let id = ChildId::new("counter")?;
    let mut row = nodes[0].supervisor.start_child(ChildSpec::new(id.clone(), "count", ""), STEP_MAX).await?;
    for last in ["crash", "leave"] {
        counted(&nodes, &row).await?;
        let place = nodes.iter().position(|node| Some(&node.supervisor.cluster().id().name) == row.node.as_ref());
        let node = nodes.swap_remove(place.ok_or("it runs on none of our nodes")?);
        println!("let {} {last}", node.supervisor.cluster().id().name);
        if last == "leave" {
            node.supervisor.shutdown(STEP_MAX).await;
        }
        node.runtime.shutdown_background();
        row = runs_again(&nodes[0].supervisor, &id, &row).await?;
    }
    counted(&nodes, &row).await?;
    nodes[0].supervisor.terminate_child(&id, STEP_MAX).await?;
    println!("done");
    for node in nodes {
        node.supervisor.shutdown(STEP_MAX).await;
        node.runtime.shutdown_background();
    }
    Ok(())
}

async fn start(name: NodeName, authority: &CertificateAuthority, join: Vec<String>) -> Result<Node, Box<dyn Error>> {
    let tls: TlsMaterial = authority.issue(&name)?;
    let config = ClusterConfig {
        name,
        cluster: "counter".to_owned(),
        boot: 1,
        listen: "127.0.0.1:0".parse()?,
        advertise: None,
        join,
        tls,
    };
    let kinds = Kinds::new().with_fn("count", count);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let started = runtime.spawn(async move {
        let (cluster, events) = Cluster::start(config).await?;
        Ok::<_, ordu_transport::StartError>(Supervisor::start(
            cluster,
            events,
            SupervisorConfig { kinds, ..SupervisorConfig::default() },
        ))
    });
    Ok(Node { supervisor: started.await??, runtime })
}

/// Waits until every node sees that this activation has counted for a while.
async fn counted(nodes: &[Node], row: &ChildRow) -> Result<(), Box<dyn Error>> {
    for node in nodes {
        let reached = |supervisor: &Supervisor| {
            let value = |entry: &ordu_registry::core::Entry| {
                let number = std::str::from_utf8(entry.value()).ok().and_then(|text| text.parse::<u32>().ok());
                Some(entry.pid()) == row.pid.as_ref() && number.is_some_and(|number| number >= 10)
            };
            supervisor.registry().lookup_with("counter/value", value) == Some(true)
        };
        timeout(STEP_MAX, node.supervisor.wait_until(reached)).await?;
        println!("  {}: the counter of {} is at 10", node.supervisor.cluster().id().name, text(&row.pid));
    }
    Ok(())
}

/// Waits until another activation runs, and checks its fence.
async fn runs_again(supervisor: &Supervisor, id: &ChildId, before: &ChildRow) -> Result<ChildRow, Box<dyn Error>> {
    let another = |row: &ChildRow| row.status == ChildStatus::Running && row.pid != before.pid;
    timeout(STEP_MAX, supervisor.wait_until(|supervisor| supervisor.child(id).as_ref().is_some_and(another))).await?;
    let row = supervisor.child(id).ok_or("it ran a moment ago")?;
    if row.fence <= before.fence {
        return Err(format!("its fence {} is not above {}", text(&row.fence), text(&before.fence)).into());
    }
    Ok(row)
}

fn text(value: &Option<impl ToString>) -> String {
    value.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

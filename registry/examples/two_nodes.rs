//! Two nodes in one process, on loopback: a name registered on one is seen on the other, and of two processes that took
//! the same name before their nodes had met, one stays and the other is told.
//!
//!     cargo run -p ordu-registry --example two_nodes
//!
//! Ends by itself: 0 if all of that happened, something else if not.

use std::error::Error;
use std::time::Duration;

use ordu_registry::core::Name;
use ordu_registry::{ExitReason, Process, Registry, RegistryConfig, RegistryNode};
use ordu_transport::core::NodeName;
use ordu_transport::{CertificateAuthority, Cluster, ClusterConfig, TlsMaterial};
use tokio::time::timeout;

/// How long each step may take.
const STEP_MAX: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Nodes talk to those only who have a certificate of the same private CA. Here both find theirs in one folder;
    // between machines each gets its own subfolder, and nobody but the operator the CA's key.
    let dir = tempfile::tempdir()?;
    let authority = CertificateAuthority::generate()?;
    authority.save(dir.path())?;
    for name in ["a", "b"] {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder)?;
        authority.issue(&NodeName::new(name)?)?.save(&folder)?;
    }

    let a = start("a", TlsMaterial::load(&dir.path().join("a"))?, vec![]).await?;
    let first = a.spawn(hold_leader);
    a.wait_until(|registry| registry.lookup("leader").is_some()).await;
    println!("a: leader is {}", first.pid());

    // Node b has not met a yet, so nothing speaks against this.
    let b = start("b", TlsMaterial::load(&dir.path().join("b"))?, vec![a.cluster().addr().to_string()]).await?;
    let second = b.spawn(hold_leader);
    b.wait_until(|registry| registry.lookup("leader").is_some()).await;
    println!("b: leader is {}", second.pid());

    // They meet. The process that runs longer stays; the other one is told, and ends.
    match timeout(STEP_MAX, second.exited()).await? {
        ExitReason::NameConflict(conflict) => {
            println!("b: {} lost {:?} to {}", second.pid(), conflict.name, conflict.winner)
        }
        other => return Err(format!("the second leader ended otherwise: {other:?}").into()),
    }
    let is_first = |registry: &Registry| registry.lookup("leader").is_some_and(|entry| *entry.pid() == *first.pid());
    timeout(STEP_MAX, b.wait_until(is_first)).await?;
    println!("b: leader is {}", first.pid());

    // A value travels with a name, and lookups are local.
    let printer = b.process();
    printer.register(Name::new("printers/2nd-floor")?, "ready")?;
    timeout(STEP_MAX, a.wait_until(|registry| registry.lookup("printers/2nd-floor").is_some())).await?;
    for entry in a.entries("printers/") {
        println!("a: {} is {} and says {:?}", entry.name(), entry.pid(), entry.value());
    }

    // A process that ends releases its names, everywhere.
    drop(printer);
    timeout(STEP_MAX, a.wait_until(|registry| registry.lookup("printers/2nd-floor").is_none())).await?;
    println!("a: printers/2nd-floor is gone");

    b.shutdown().await;
    a.shutdown().await;
    Ok(())
}

async fn start(name: &str, tls: TlsMaterial, join: Vec<String>) -> Result<RegistryNode, Box<dyn Error>> {
    let (cluster, events) = Cluster::start(ClusterConfig {
        name: NodeName::new(name)?,
        cluster: "two-nodes".to_owned(),
        boot: 1,
        listen: "127.0.0.1:0".parse()?,
        advertise: None,
        join,
        tls,
    })
    .await?;
    Ok(Registry::start(cluster, events, RegistryConfig::default()))
}

/// A process: holds its name until it is told to stop.
async fn hold_leader(process: Process) -> Result<(), Box<dyn Error + Send + Sync>> {
    process.register(Name::new("leader")?, "")?;
    process.stopping().await;
    Ok(())
}

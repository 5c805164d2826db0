use std::path::PathBuf;
use std::time::Duration;

use ordu_registry::core::Fence;
use ordu_supervisor::{Context, Exit};
use rusqlite::{Connection, Error, TransactionBehavior, params};

/// Between two steps.
const PAUSE: Duration = Duration::from_millis(20);

/// How a child ends that writes under its fence.
pub(crate) async fn run(ctx: Context, path: PathBuf) -> Exit {
    let mut store = match Connection::open(path) {
        Ok(store) => store,
        Err(error) => return Exit::Abnormal(error.to_string()),
    };
    while !ctx.is_stopping() {
        let fence = ctx.fence();
        match tokio::task::block_in_place(|| step(&mut store, ctx.id().as_str(), fence, &ctx.pid().to_string())) {
            Ok(None) => tokio::select! { () = ctx.stopping() => {}, () = tokio::time::sleep(PAUSE) => {} },
            // Who won a conflict meanwhile has a higher one.
            Ok(Some(_)) if ctx.fence() != fence => {}
            Ok(Some(seen)) => return seen.parse().map_or_else(|_| Exit::Abnormal(seen), Exit::Fenced),
            Err(error) => return Exit::Abnormal(error.to_string()),
        }
    }
    Exit::Normal
}

/// One step, or the later fence by which it is refused.
pub(crate) fn step(
    store: &mut Connection,
    resource: &str,
    fence: Fence,
    writer: &str,
) -> Result<Option<String>, Error> {
    let step = store.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let claim = "INSERT INTO fences (resource, fence) VALUES (?1, ?2)
        ON CONFLICT (resource) DO UPDATE SET fence = excluded.fence WHERE fences.fence <= excluded.fence";
    if step.execute(claim, params![resource, fence.to_string()])? == 0 {
        let seen = step.query_row("SELECT fence FROM fences WHERE resource = ?1", [resource], |row| row.get(0))?;
        return Ok(Some(seen));
    }
    let write = "INSERT INTO journal (resource, number, fence, writer)
        SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3 FROM journal WHERE resource = ?1";
    step.execute(write, params![resource, fence.to_string(), writer])?;
    step.commit()?;
    Ok(None)
}

//! How much is said: at INFO as much for many records as for few, at DEBUG by the page, and by the record at TRACE only.

use std::sync::Arc;

use sync_core::RunMode;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::capture::{Capture, Log};
use crate::parties::Table;
use crate::walk::World;

async fn said(level: LevelFilter, records: usize) -> Log {
    let capture = Capture::default();
    let subscriber = tracing_subscriber::registry().with(level).with(capture.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let table = Table::new(&world.shown, false);
    for number in 0..records {
        table.put(&format!("k{number:04}"), "text");
    }
    let none = Arc::new(Table::new(&world.shown, false));
    let report = world.workflow(Arc::new(table), none).start(RunMode::UntilIdle).join().await;
    assert_eq!(report.streams[0].tally.inserted, records as u64);
    capture.take()
}

#[tokio::test]
async fn the_higher_levels_do_not_grow_with_the_records() {
    let (few, many) = (30, 600);
    let info = |log: &Log| log.count;
    let (of_few, of_many) = (said(LevelFilter::INFO, few).await, said(LevelFilter::INFO, many).await);
    assert_eq!(info(&of_few), info(&of_many), "{}", of_many.text);
    assert!(of_few.spans.contains_key("sync.workflow"));

    // A page is three rows here: one question, one append and one line, and the batches of the writer beside them.
    let debug = said(LevelFilter::DEBUG, many).await;
    assert!(debug.count > of_many.count && !debug.spans.contains_key("sync.write"));
    assert!(debug.spans.contains_key("sync.settle"));

    let trace = said(LevelFilter::TRACE, many).await;
    let writes = trace.text.matches("sync.write ").count();
    assert_eq!(writes, many, "one for each operation");
}

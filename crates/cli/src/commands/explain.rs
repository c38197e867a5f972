use d365_campaign::Config;
use d365_campaign::explain::explain;

use super::preview::OneRecord;
use crate::exit::Exit;
use crate::{Format, output};

pub(crate) async fn run(of: OneRecord, format: Format) -> Exit {
    let report = match Config::load(&of.config) {
        Ok(config) => explain(&config, &of.table, &of.id).await,
        Err(error) => Err(error),
    };
    match (report, format) {
        (Err(error), _) => return Exit::from_error(&error),
        (Ok(report), Format::Text) => output::line(&report.to_string()),
        (Ok(report), Format::Json) => output::summary(&report),
    }
    Exit::code(Exit::DONE).summarised()
}

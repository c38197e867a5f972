//! The engine's reasons in the words of the configuration: the engine does not know what its settings are called there.

use sync_core::StatusReason;

use crate::config::Config;

/// The same reason with the settings that mend it.
pub(crate) fn in_words_of(config: &Config, mut reason: StatusReason) -> StatusReason {
    let file = config.store.sqlite.display();
    match reason.code.as_str() {
        "delete-brake" => {
            reason.remedy =
                "Check that Dynamics 365 shows all its records to the application user. If they are gone indeed, \
                             raise sync.delete_brake and start again."
                    .to_owned();
        }
        "store-full" => {
            reason.message = format!("The store {file} is full: its disk, or store.max_pages, leaves no room.");
            reason.remedy = format!(
                "Free space on the disk of {file}, move the file and store.sqlite to another one, or raise store.max_pages; \
                 then start again: nothing was lost."
            );
        }
        code if code.starts_with("store-") && !reason.message.contains("store.sqlite") => {
            reason.message = format!("{} (store.sqlite: {file})", reason.message);
        }
        _ => {}
    }
    reason
}

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use d365_campaign::Config;
use d365_campaign::consent::{self, Channel};

use crate::exit::Exit;
use crate::{Format, output};

/// What to ask the consent ledger, or to tell it.
#[derive(Debug, Subcommand)]
pub(crate) enum Consent {
    /// Goes through the ledger from beginning to end; ends with 1 where it is not what was written.
    Verify {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Says whether a contact may be reached by a channel.
    MayContact {
        #[command(flatten)]
        contact: Contact,
        /// The channel.
        #[arg(long, value_enum)]
        channel: By,
    },
    /// Marks a person as erased: nothing of hers is written any more.
    Erase(Contact),
    /// Takes the mark back.
    Unerase(Contact),
}

/// One contact.
#[derive(Debug, clap::Args)]
pub(crate) struct Contact {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The contact's id in Dynamics 365, a GUID.
    #[arg(long, value_name = "ID")]
    id: String,
}

/// A channel.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum By {
    /// E-mail.
    Email,
    /// Calls.
    Phone,
    /// Text messages.
    Sms,
    /// Fax.
    Fax,
    /// Letters.
    PostalMail,
    /// Push notifications.
    Push,
    /// Sale of personal data.
    Sale,
}

impl From<By> for Channel {
    fn from(by: By) -> Self {
        match by {
            By::Email => Self::Email,
            By::Phone => Self::Phone,
            By::Sms => Self::Sms,
            By::Fax => Self::Fax,
            By::PostalMail => Self::PostalMail,
            By::Push => Self::Push,
            By::Sale => Self::Sale,
        }
    }
}

pub(crate) async fn run(command: Consent, format: Format) -> Exit {
    match ask(command, format).await {
        Ok(exit) => exit,
        Err(error) => Exit::from_error(&error),
    }
}

async fn ask(command: Consent, format: Format) -> Result<Exit, d365_campaign::Error> {
    match command {
        Consent::Verify { config } => {
            let config = Config::load_with_references(&config)?;
            return Ok(match consent::verify(&config).await? {
                Ok(head) => {
                    say(format, &format!("intact: {} entries", head.entries), &[("entries", head.entries.into())]);
                    Exit::code(Exit::DONE).summarised()
                }
                Err(broken) => Exit::failed(&format!("The consent ledger is not what was written: {broken}.")),
            });
        }
        Consent::MayContact { contact, channel } => {
            let config = Config::load_with_references(&contact.config)?;
            let answer = consent::may_contact(&config, &contact.id, channel.into())?;
            let text = answer.to_string();
            say(format, &text, &[("allowed", answer.allowed.into()), ("ground", text.as_str().into())]);
        }
        Consent::Erase(contact) => {
            consent::erase(&Config::load_with_references(&contact.config)?, &contact.id).await?;
            say(format, "marked as erased", &[("erased", true.into())]);
        }
        Consent::Unerase(contact) => {
            consent::unerase(&Config::load_with_references(&contact.config)?, &contact.id).await?;
            say(format, "no longer marked as erased", &[("erased", false.into())]);
        }
    }
    Ok(Exit::code(Exit::DONE).summarised())
}

fn say(format: Format, text: &str, fields: &[(&str, serde_json::Value)]) {
    match format {
        Format::Text => output::line(text),
        Format::Json => {
            let object: serde_json::Map<_, _> =
                fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            output::summary(&serde_json::Value::Object(object));
        }
    }
}

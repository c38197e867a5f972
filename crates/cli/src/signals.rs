//! SIGTERM and SIGINT, from the start of a command to its end.

/// How a run was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT, or Ctrl-C.
    Interrupt,
}

/// One listener for the whole command: a signal that arrives while nobody waits is there at the next wait.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(windows)]
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    /// Waits for the next one.
    ///
    /// # Cancellation safety
    /// A signal is not lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
        #[cfg(windows)]
        {
            self.interrupt.recv().await;
            Signal::Interrupt
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_signal_that_arrives_between_two_waits_is_not_lost() {
        let mut signals = Signals::listen().unwrap();
        for (name, expected) in [("-INT", Signal::Interrupt), ("-TERM", Signal::Terminate)] {
            tokio::select! {
                biased;
                early = signals.next() => assert_eq!(early, expected, "no signal was sent yet"),
                () = tokio::task::yield_now() => {}
            }
            let id = std::process::id().to_string();
            assert!(tokio::process::Command::new("kill").args([name, &id]).status().await.unwrap().success());
            let next = tokio::time::timeout(Duration::from_secs(10), signals.next()).await;
            assert_eq!(next.ok(), Some(expected));
        }
    }
}

//! Single keys from the terminal.

use std::io::{IsTerminal as _, Read as _, stdin};
use std::thread;

use anyhow::{Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc::{Receiver, channel};

/// The terminal gives keys at once and unechoed until this is dropped. An interrupt stays an interrupt.
pub(super) struct Keys {
    before: Termios,
    keys: Receiver<u8>,
}

impl Keys {
    /// Takes the terminal over.
    pub(super) fn take() -> Result<Self> {
        if !stdin().is_terminal() {
            bail!("there is no terminal: use `make demo AUTO=1`");
        }
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        let (sender, keys) = channel(16);
        // Reading cannot be interrupted; the thread ends with the program.
        thread::spawn(move || {
            for key in stdin().lock().bytes().map_while(Result::ok) {
                if sender.blocking_send(key).is_err() {
                    return;
                }
            }
        });
        Ok(Self { before, keys })
    }

    /// The next key; `None` when the terminal is gone.
    pub(super) async fn next(&mut self) -> Option<u8> {
        self.keys.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        tcsetattr(stdin(), OptionalActions::Now, &self.before).ok();
    }
}

//! The log: on stderr or in a file, never on stdout.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::EnvFilter;

use crate::console::screen::Screen;
use crate::exit::Exit;
use crate::settings::Settings;

/// tarpc tells every call at `info`, which doubles what a call costs.
const TARPC: &str = "tarpc=warn";
/// And it reports every connection that ends and every late answer, which people who did not ask for a log need not
/// read: what follows from them is told as events.
const TARPC_QUIET: &str = "tarpc=off";

/// The registry that a chat serves warns of connections that are nobody's business in the talk; of what is an error it
/// tells. In a log file, or if more is asked for, all of it stands.
const REGISTRY_QUIET: &str = "nodeset::server=error";
/// The end of this chat by eviction is said when it ends.
const EVICTION: &str = "multicast::evicted=off";

/// Starts logging. On a terminal with a prompt, log lines stand above it.
pub fn start(settings: &Settings, screen: Option<Arc<Screen>>) -> Result<(), Exit> {
    let level = match (settings.quiet, settings.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let tarpc = if settings.verbose > 0 { TARPC } else { TARPC_QUIET };
    let mut filter = format!("{level},{tarpc},{EVICTION}");
    if settings.verbose == 0 && settings.log_file.is_none() {
        filter += ",";
        filter += REGISTRY_QUIET;
    }
    let filter = EnvFilter::new(filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    match (&settings.log_file, screen) {
        (Some(path), _) => {
            let opened = File::options().create(true).append(true).open(path);
            let file = opened.map_err(|error| {
                let path = crate::app::clean::line(&path.display().to_string());
                Exit::Usage(format!("cannot write the log to {path}: {error}"))
            })?;
            builder.with_writer(Mutex::new(file)).init();
        }
        (None, Some(screen)) => builder.with_writer(move || AbovePrompt(screen.clone())).init(),
        (None, None) => builder.with_writer(io::stderr).init(),
    }
    Ok(())
}

struct AbovePrompt(Arc<Screen>);

impl io::Write for AbovePrompt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(String::from_utf8_lossy(bytes).trim_end())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Settings: layers in, validated [`Settings`] out.
//!
//! Four layers, each over the one before: `config/default.toml` (embedded, and the reference), the
//! settings file and after it the files of the `conf.d` beside it, the environment
//! (`READYGATE_SECTION__KEY`), flags. What they add up to is read section by section; reading goes
//! on after a problem, so that one run shows all of them.

mod files;
mod ids;
mod layers;
mod lines;
mod load;
mod names;
mod problem;
mod receiver;
mod report;
mod scope;
mod secret;
mod sections;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod text_file;
mod url;
mod watch;

pub use layers::Overrides;
pub use problem::{Origin, Problem, SettingsError};
pub use settings::{
    DeliverySettings, FileLayout, Freshness, LogFormat, LogSettings, PollSettings, ReceiverKind,
    ReceiverSettings, ScopeSettings, Settings, StoreSettings, WatchSettings,
};

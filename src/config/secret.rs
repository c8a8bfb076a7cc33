//! Secrets are named, never written: `file:/path`, `env:NAME`, `credential:NAME`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use secrecy::SecretString;

use crate::environment::Environment;

use super::problem::Problem;
use super::report::{Found, Place};
use super::table::resolved;
use super::text_file;

/// The most a secret may be, in bytes: far above any key, far below what would hurt.
const LARGEST: u64 = 64 * 1024;

/// Resolves a reference to a secret.
///
/// # Errors
///
/// Where it is no reference (then it may be the secret itself and is not repeated), or what it names
/// is missing, empty, or readable by everybody.
pub(super) fn resolve(
    reference: &Found<String>,
    environment: &Environment,
) -> Result<SecretString, Problem> {
    let Found { value, place } = reference;
    let secret = match value.split_once(':') {
        Some(("file", path)) => from_file(&resolved(Path::new(path), &place.origin), place)?,
        Some(("env", name)) => match environment.get(name) {
            Some(secret) => secret.to_owned(),
            None => {
                let what = format!("the environment variable `{name}` is not set");
                return Err(place.problem(what, "set it for the daemon"));
            }
        },
        Some(("credential", name)) => from_credential(name, environment, place)?,
        Some(_) | None => {
            return Err(place.problem(
                "is not a reference, and secrets are not written into settings",
                "write \"file:/path\", \"env:NAME\" or \"credential:NAME\"",
            ));
        }
    };
    match secret.trim() {
        "" => Err(place.problem("the secret it names is empty", "put the secret there")),
        trimmed => Ok(SecretString::from(trimmed)),
    }
}

fn from_file(path: &Path, place: &Place) -> Result<String, Problem> {
    let shown = path.display();
    let (text, metadata) = text_file::read(path, LARGEST).map_err(|error| {
        place.problem(
            format!("`{shown}` cannot be read: {error}"),
            "create it, readable by the daemon's user only",
        )
    })?;
    if metadata.permissions().mode() & 0o004 != 0 {
        let what = format!("`{shown}` can be read by everybody on this machine");
        return Err(place.problem(what, format!("run: chmod o-rwx {shown}")));
    }
    Ok(text)
}

fn from_credential(
    name: &str,
    environment: &Environment,
    place: &Place,
) -> Result<String, Problem> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        let what = format!("`{name}` is not the name of a credential");
        return Err(place.problem(what, "write the name that LoadCredential= gives it"));
    }
    let Some(folder) = environment.path("CREDENTIALS_DIRECTORY") else {
        return Err(place.problem(
            "there are no credentials: CREDENTIALS_DIRECTORY is not set",
            format!("add LoadCredential={name}:/path to the systemd unit, or use \"file:/path\""),
        ));
    };
    from_file(&folder.join(name), place)
}

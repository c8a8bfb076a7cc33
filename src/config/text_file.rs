//! Reading the files that settings name, and finding them in folders.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Reads a text of at most `limit` bytes, without its byte order mark.
///
/// # Errors
///
/// Where it cannot be read, is a folder, is larger than that, or is not UTF-8.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<(String, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too large" from "just fits", and a device cannot fill memory.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Ok((rest.to_owned(), metadata)),
        None => Ok((text, metadata)),
    }
}

/// The files of a folder whose names have this ending, such as `.toml`, in the order of their names.
/// Hidden ones are what editors and package managers leave behind, so they do not count.
///
/// # Errors
///
/// Where the folder is missing, is none, or cannot be read.
pub(super) fn files_of(folder: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.retain(|name| {
        let name = name.as_encoded_bytes();
        name.ends_with(ending.as_bytes()) && !name.starts_with(b".")
    });
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

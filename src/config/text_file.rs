//! Reading the files that settings name.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

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

//! Tensors whose values are in another file. Only files in the model's own folder are read: a path that leaves it, by its
//! text or by a link, is refused before anything is opened.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::error::{OnnxError, Result};
use crate::proto::TensorProto;
use crate::tensor::Data;

/// Finds the values of a tensor that the model's file does not hold.
pub(crate) fn locate(file: &str, folder: Option<&Path>, proto: &TensorProto, expected: u64) -> Result<Data> {
    let tensor = proto.name().to_owned();
    let entry = |key: &str| proto.external_data.iter().find(|entry| entry.key() == key).map(|e| e.value());
    let corrupt = |detail: String| OnnxError::Corrupt {
        file: file.to_owned(),
        detail: format!("tensor {tensor} is in another file: {detail}"),
    };
    let location = entry("location").ok_or_else(|| corrupt("it does not say which".to_owned()))?.to_owned();
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| corrupt(format!("its {key} is `{text}`"))),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if length.is_some_and(|length| length != expected) {
        let length = length.unwrap_or_default();
        return Err(corrupt(format!("its length is {length}, its shape takes {expected} bytes")));
    }
    let outside = || OnnxError::OutsideFolder {
        file: file.to_owned(),
        tensor: tensor.clone(),
        location: location.clone(),
    };
    let missing = || OnnxError::MissingData {
        file: file.to_owned(),
        tensor: tensor.clone(),
        location: location.clone(),
    };
    // A backslash and a colon are letters of a name here and a path elsewhere.
    let plain = Path::new(&location)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if location.is_empty() || !plain || location.contains(['\\', ':', '\0']) {
        return Err(outside());
    }
    let folder = folder.ok_or_else(missing)?;
    let path = resolve(folder, &location, &missing, &outside)?;
    let data = std::fs::metadata(&path).map_err(OnnxError::io("read", &path))?;
    if !data.is_file() {
        return Err(missing());
    }
    let end = offset.checked_add(expected);
    if end.is_none_or(|end| end > data.len()) {
        return Err(corrupt(format!(
            "bytes {offset} to {} of `{location}`, which has {}",
            end.unwrap_or(u64::MAX),
            data.len()
        )));
    }
    Ok(Data::File { path: Arc::from(path), offset, bytes: expected })
}

/// The file behind all links, which must lie in the folder behind all links.
fn resolve(
    folder: &Path,
    location: &str,
    missing: &dyn Fn() -> OnnxError,
    outside: &dyn Fn() -> OnnxError,
) -> Result<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = folder.canonicalize().map_err(OnnxError::io("read", folder))?;
    let path = match folder.join(location).canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(OnnxError::io("read", &folder.join(location))(error)),
    };
    if path.starts_with(&folder) { Ok(path) } else { Err(outside()) }
}

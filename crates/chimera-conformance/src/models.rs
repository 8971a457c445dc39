//! Files of models where adapters in process look for them: by name in a folder, and with a chat template for those that
//! bring none. For tests; servers have stores of their own.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

/// A template that every template engine takes.
pub const CHAT_TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";

/// Copies the files of a model's folder into `to/NAME`; gives `to`. Several processes and threads may do so at once: each
/// file is there whole or not at all.
///
/// # Errors
/// A file that cannot be read or written.
pub fn by_name(model: &Path, name: &str, to: &Path) -> io::Result<PathBuf> {
    let folder = to.join(name);
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(model)? {
        let entry = entry?;
        if !folder.join(entry.file_name()).exists() {
            place(&folder, &entry.file_name(), &fs::read(entry.path())?)?;
        }
    }
    Ok(to.to_path_buf())
}

/// The same with [`CHAT_TEMPLATE`] beside the files, where formats have folders.
///
/// # Errors
/// As [`by_name`].
pub fn with_template_beside(model: &Path, name: &str, to: &Path) -> io::Result<PathBuf> {
    by_name(model, name, to)?;
    place(&to.join(name), "chat_template.jinja".as_ref(), CHAT_TEMPLATE.as_bytes())?;
    Ok(to.to_path_buf())
}

/// Writes `to/NAME.gguf`, a GGUF file with a template in it; gives `to`.
///
/// # Errors
/// A file that cannot be read or written, or is no GGUF file.
pub fn with_template_inside(model: &Path, name: &str, to: &Path) -> io::Result<PathBuf> {
    let bytes = with_template(&fs::read(model)?, CHAT_TEMPLATE)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "too short for a GGUF file"))?;
    fs::create_dir_all(to)?;
    place(to, format!("{name}.gguf").as_ref(), &bytes)?;
    Ok(to.to_path_buf())
}

/// The bytes of a GGUF file with a template in its metadata; `None` for what is too short to be one. What is put in is a
/// multiple of the alignment, so that no tensor moves within it.
#[must_use]
pub fn with_template(gguf: &[u8], template: &str) -> Option<Vec<u8>> {
    /// Where the number of entries stands, and what follows it.
    const COUNT: std::ops::Range<usize> = 16..24;
    const TEXT: u32 = 8;
    let key = "tokenizer.chat_template";
    let bare = key.len() + template.len() + 20;
    // A comment fills it up.
    let padding = 32 + 32 - (bare + 4) % 32;
    let template = format!("{template}{{#{}#}}", " ".repeat(padding));
    let entry = [
        &(key.len() as u64).to_le_bytes(),
        key.as_bytes(),
        &TEXT.to_le_bytes(),
        &(template.len() as u64).to_le_bytes(),
        template.as_bytes(),
    ]
    .concat();
    let count = u64::from_le_bytes(gguf.get(COUNT)?.try_into().ok()?);
    let (head, rest) = (gguf.get(..COUNT.start)?, gguf.get(COUNT.end..)?);
    Some([head, &(count + 1).to_le_bytes(), &entry, rest].concat())
}

fn place(folder: &Path, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let thread = std::thread::current().id();
    let partial = folder.join(format!(".{}-{thread:?}-{}", std::process::id(), name.display()));
    fs::write(&partial, bytes)?;
    fs::rename(&partial, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_stay_where_they_were_within_the_alignment() {
        let gguf = [b"GGUF".as_slice(), &[3, 0, 0, 0], &[0; 16], b"rest"].concat();
        let with = with_template(&gguf, CHAT_TEMPLATE).unwrap();
        assert_eq!((with.len() - gguf.len()) % 32, 0);
        assert_eq!((&with[..16], with[16]), (&gguf[..16], 1));
        assert!(with.ends_with(b"rest"));
        assert_eq!(with_template(b"GGUF", CHAT_TEMPLATE), None);
    }
}

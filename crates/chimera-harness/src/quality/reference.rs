//! What the reference says to each prompt, kept in files between its own process and those of the arms that are compared
//! with it, and removed afterwards. It is no record: what counts is in `quality.jsonl`.

use std::{
    fs,
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
};

use chimera_core::Logits;
use serde::{Deserialize, Serialize};

/// Folder in a run's directory.
const FOLDER: &str = "quality.tmp";

/// The reference's word on one prompt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) head: Head,
    pub(crate) logits: Logits,
}

/// Everything but the logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Prompt and greedy continuation: what every arm reads.
    pub(crate) tokens: Vec<u32>,
    pub(crate) vocabulary: usize,
    /// The prompt as text, for those who take no token ids.
    pub(crate) prompt: String,
    /// Tokens that an answer may have.
    pub(crate) budget: u32,
    /// The greedy answer to the text; none where the reference takes no text.
    pub(crate) answer: Option<String>,
}

/// Where the word of a reference on a scenario lies.
fn place(run: &Path, backend: &str, model: &str, scenario: &str) -> PathBuf {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in [backend, model, scenario] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    // Names of designs may hold anything; a file name may not.
    let name: String = hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    run.join(FOLDER).join(name)
}

pub(crate) fn write(run: &Path, arm: (&str, &str), scenario: &str, said: &Said) -> io::Result<()> {
    let path = place(run, arm.0, arm.1, scenario);
    fs::create_dir_all(run.join(FOLDER))?;
    let draft = path.with_extension("partial");
    let mut file = io::BufWriter::new(fs::File::create(&draft)?);
    serde_json::to_writer(&mut file, &said.head)?;
    file.write_all(b"\n")?;
    for logit in &said.logits.values {
        file.write_all(&logit.to_le_bytes())?;
    }
    file.into_inner()?;
    fs::rename(draft, path)
}

/// Reads it back; `None` where the reference said nothing.
pub(crate) fn read(run: &Path, arm: (&str, &str), scenario: &str) -> io::Result<Option<Said>> {
    let file = match fs::File::open(place(run, arm.0, arm.1, scenario)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut reader = io::BufReader::new(file);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let head: Head = serde_json::from_slice(&line)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let vocabulary = head.vocabulary;
    if bytes.len() != 4 * vocabulary.saturating_mul(head.tokens.len()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the reference's logits are not whole"));
    }
    Ok(Some(Said { head, logits: Logits { values, vocabulary } }))
}

/// Removes everything that references said in this run.
pub(crate) fn clear(run: &Path) -> io::Result<()> {
    match fs::remove_dir_all(run.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_what_is_cut_off_is_refused() {
        let run = tempfile::tempdir().unwrap();
        let arm = ("candle", "a/b: ü");
        assert_eq!(read(run.path(), arm, "s").unwrap(), None);
        let head = Head {
            tokens: vec![1, 2],
            vocabulary: 3,
            prompt: "a\nb".into(),
            budget: 4,
            answer: Some("c".into()),
        };
        let said = Said { head, logits: Logits { values: vec![0.5; 6], vocabulary: 3 } };
        write(run.path(), arm, "s", &said).unwrap();
        assert_eq!(read(run.path(), arm, "s").unwrap(), Some(said));
        assert_eq!(read(run.path(), arm, "t").unwrap(), None);
        let path = place(run.path(), arm.0, arm.1, "s");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(read(run.path(), arm, "s").is_err());
        clear(run.path()).unwrap();
        clear(run.path()).unwrap();
        assert_eq!(read(run.path(), arm, "s").unwrap(), None);
    }
}

//! `chimera models audit`: what a file of weights really holds. The reading is that of `chimera-onnx` and `chimera-zoo`;
//! here it is printed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use chimera_onnx::{Arithmetic, Claim, Model};
use chimera_zoo::FileAudit;
use serde_json::json;

use crate::exit::{FILES, WithExit};

/// Audits a file and prints what it holds.
///
/// # Errors
/// A file that cannot be read, or is none of the three kinds.
pub(crate) fn main(path: &Path, json: bool) -> anyhow::Result<()> {
    match kind(path).exit(FILES)? {
        Kind::Onnx => graph(&Model::read(path).exit(FILES)?, json),
        Kind::Gguf => weights("GGUF", &chimera_zoo::audit_gguf(path).exit(FILES)?, json),
        Kind::Safetensors => weights("safetensors", &chimera_zoo::audit_safetensors(path).exit(FILES)?, json),
    }
}

enum Kind {
    Onnx,
    Gguf,
    Safetensors,
}

/// By content where the content tells, and otherwise by name: ONNX has no mark.
fn kind(path: &Path) -> anyhow::Result<Kind> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut start = Vec::new();
        File::open(path)?.take(9).read_to_end(&mut start)?;
        Ok(start)
    };
    let start = read().map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match (start.get(..4), start.get(8), extension.as_deref()) {
        (Some(b"GGUF"), ..) | (_, _, Some("gguf")) => Ok(Kind::Gguf),
        (_, _, Some("onnx")) => Ok(Kind::Onnx),
        (_, Some(b'{'), _) | (_, _, Some("safetensors")) => Ok(Kind::Safetensors),
        _ => anyhow::bail!(
            "{} is no ONNX, GGUF or safetensors file by its name or its first bytes",
            path.display()
        ),
    }
}

fn graph(model: &Model, as_json: bool) -> anyhow::Result<()> {
    let audit = chimera_onnx::audit(model);
    let claims = [("F32", Claim::F32), ("F16", Claim::F16), ("INT8", Claim::Int8)]
        .map(|(name, claim)| (name, audit.refute(claim)));
    if as_json {
        let refuted: serde_json::Map<String, serde_json::Value> =
            claims.iter().map(|(name, why)| ((*name).to_owned(), json!(why))).collect();
        let out = json!({ "format": "ONNX", "opset": model.opset(), "audit": audit, "refuted": refuted });
        println!("{out:#}");
        return Ok(());
    }
    println!("ONNX, operator set {}", model.opset().map_or_else(|| "unknown".to_owned(), |n| n.to_string()));
    println!("\n{:24} {:>8} {:>14} {:>14}", "constants", "tensors", "elements", "bytes");
    for w in &audit.weights {
        println!("{:24} {:>8} {:>14} {:>14}", w.kind, w.tensors, w.elements, w.bytes);
    }
    println!("\n{:40} {:>16} {:>6}", "operator", "precision", "nodes");
    for o in &audit.operators {
        println!("{:40} {:>16} {:>6}", o.operator, o.precision, o.nodes);
    }
    println!("\nproducts with constants:");
    for (arithmetic, words) in [
        (Arithmetic::Integer, "in integers"),
        (Arithmetic::Dequantised, "dequantised: in integers if the engine fuses them"),
        (Arithmetic::WeightOnly, "in floats, weights in eight bits or fewer"),
        (Arithmetic::Float, "in floats"),
        (Arithmetic::Unknown, "in types that could not be followed"),
    ] {
        let count = audit.constant_products(&arithmetic);
        if count > 0 {
            println!("{count:>6} {words}");
        }
    }
    println!("\n{} bytes of constants read per decoded token", audit.weight_bytes_per_token);
    for (name, why) in claims {
        match why {
            None => println!("{name}: nothing in this graph speaks against it"),
            Some(why) => println!("{name}: no: {why}"),
        }
    }
    Ok(())
}

fn weights(format: &str, audit: &FileAudit, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{:#}", json!({ "format": format, "audit": audit }));
        return Ok(());
    }
    println!("{format}\n\n{:24} {:>8} {:>14} {:>14}", "weights", "tensors", "elements", "bytes");
    for w in &audit.weights {
        let bytes = w.bytes.map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string());
        println!("{:24} {:>8} {:>14} {bytes:>14}", w.kind, w.tensors, w.elements);
    }
    match (audit.weight_bytes_per_token, &audit.note) {
        (Some(bytes), _) => println!("\n{bytes} bytes of weights read per decoded token"),
        (None, note) => {
            println!("\nbytes read per token: not known: {}", note.as_deref().unwrap_or("no reason"))
        }
    }
    Ok(())
}

//! `chimera models`: list, make, fetch, convert and audit models.

use std::path::PathBuf;

use chimera_zoo::{FetchOptions, ModelFiles, Variant};

use crate::{
    audit,
    convert::{self, Form},
    exit::{FILES, USAGE, WithExit},
    prepare,
    registry::Lab,
};

/// What to do with models.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ModelsCommand {
    /// Every model, with its size and what it takes to have it.
    List,
    /// Write a generated model.
    Make {
        /// Its name.
        name: String,
        /// Its form: safetensors-f32, safetensors-f16, gguf-f32, gguf-f16, gguf-q8_0, gguf-q4_0,
        /// onnx-f32, onnx-f16 or onnx-int8-dynamic.
        #[arg(long, default_value = "safetensors-f32")]
        variant: Variant,
    },
    /// Download real weights; licence and size are printed first.
    Fetch {
        /// A published model (`smollm2-135m`), or the id of a hub's repository.
        name: String,
        /// File of the repository, for a hub id.
        #[arg(long)]
        file: Option<String>,
        /// Agree to a licence that has to be agreed to.
        #[arg(long)]
        accept_licence: bool,
    },
    /// Write a model in another form, so that every engine gets the same weights.
    Convert {
        /// A name of `models list`, a GGUF file, or an ONNX file that is to be quantised.
        model: String,
        /// Name of a file's model here; that of the file if it is not given.
        #[arg(long)]
        name: Option<String>,
        /// Where a quantised ONNX file of your own goes; other forms go where all models are.
        #[arg(long)]
        out: Option<PathBuf>,
        /// The form.
        #[command(flatten)]
        form: Form,
    },
    /// Say what a file of weights really holds: precisions of operators and tensors, bytes read per token.
    Audit {
        /// An ONNX, GGUF or safetensors file.
        file: PathBuf,
        /// Machine-readable.
        #[arg(long)]
        json: bool,
    },
}

/// Does it.
///
/// # Errors
/// What is missing and the remedy.
pub fn main(command: &ModelsCommand) -> anyhow::Result<u8> {
    let lab = Lab::open().exit(FILES)?;
    match command {
        ModelsCommand::List => {
            println!("{:16} {:>13} {:>7} {:>6}  how to have it", "model", "parameters", "layers", "width");
            for spec in chimera_zoo::models() {
                let shape = spec.shape();
                println!(
                    "{:16} {:>13} {:>7} {:>6}  made from a seed",
                    spec.name,
                    spec.params(),
                    shape.layers,
                    shape.width
                );
            }
            for model in &chimera_zoo::REAL_MODELS {
                let accept = if model.must_accept { " --accept-licence" } else { "" };
                println!(
                    "{:16} {:>13} {:>7} {:>6}  cargo xtask models fetch {}{accept}  ({}, {})",
                    model.name,
                    "-",
                    "-",
                    "-",
                    model.name,
                    model.licence,
                    chimera_report::show_number(model.download_bytes as f64, "B")
                );
            }
        }
        ModelsCommand::Make { name, variant } => show(&lab.zoo().ensure(name, *variant).exit(USAGE)?),
        ModelsCommand::Fetch { name, file, accept_licence } => {
            let options = FetchOptions { accept_licence: *accept_licence, ..FetchOptions::default() };
            let files = match file {
                None => lab.zoo().fetch(name, &options, &mut prepare::tell).exit(FILES)?,
                Some(file) => lab.zoo().fetch_hub(name, file, &options, &mut prepare::tell).exit(FILES)?,
            };
            show(&files);
        }
        ModelsCommand::Convert { model, name, out, form } => {
            if let Some(files) = convert::convert(lab.zoo(), model, name.as_deref(), out.as_deref(), form)? {
                show(&files);
            }
        }
        ModelsCommand::Audit { file, json } => audit::main(file, *json)?,
    }
    Ok(0)
}

fn show(files: &ModelFiles) {
    let manifest = &files.manifest;
    println!("{}", files.weights.display());
    println!("{} parameters, licence {}", manifest.params, manifest.licence);
    for (kind, count) in &manifest.tensor_types {
        println!("{count} tensors {kind}");
    }
    if !manifest.kept_f16.is_empty() {
        println!("kept F16, because their rows do not divide by 32: {}", manifest.kept_f16.join(", "));
    }
}

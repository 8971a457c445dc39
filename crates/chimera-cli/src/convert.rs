//! `chimera models convert`: which file is made of which, in which form. The writers are the zoo's.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use chimera_onnx::{Model, quantise};
use chimera_zoo::{Container, Encoding, ModelFiles, Variant, Zoo};
use clap::builder::PossibleValuesParser;

use crate::{
    calibrated::{self, Calibration},
    exit::{FILES, USAGE, WithExit},
    out::say,
    registry::{CALIBRATION, EVALUATION, is_ours},
};

/// A form, as it is asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct Form {
    /// The kind of file.
    #[arg(long, value_enum, required_unless_present = "variant", conflicts_with = "variant")]
    to: Option<To>,
    /// How matrices are stored; F32 if nothing is said.
    #[arg(long, value_enum, ignore_case = true, conflicts_with_all = ["variant", "quantise"])]
    precision: Option<Precision>,
    /// Make products compute in integers.
    #[arg(long, value_enum, conflicts_with = "variant")]
    quantise: Option<Quantisation>,
    /// How ranges of activations are chosen; for int8-static.
    #[arg(long, value_parser = PossibleValuesParser::new(calibrated::CALIBRATORS), default_value = "entropy")]
    calibrator: String,
    /// A text that ranges are taken from, another than the one that the model is judged by; for int8-static. A novel that is
    /// shipped if nothing is said.
    #[arg(long, value_name = "TEXT")]
    calibrate: Option<PathBuf>,
    /// Kind and precision in one word, such as gguf-q8_0.
    #[arg(long)]
    variant: Option<Variant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// A graph with the KV cache as inputs and outputs.
    Onnx,
    /// llama.cpp's file.
    Gguf,
    /// Hugging Face's file and configuration.
    Safetensors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Precision {
    #[value(name = "F32")]
    F32,
    #[value(name = "F16")]
    F16,
    #[value(name = "Q8_0")]
    Q8,
    #[value(name = "Q4_0")]
    Q4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Quantisation {
    /// Signed bytes, one scale an output channel; activations are quantised anew in every run.
    Int8Dynamic,
    /// Signed bytes, activations in ranges that ONNX Runtime showed while it read a text.
    Int8Static,
}

impl Form {
    fn variant(&self) -> anyhow::Result<Variant> {
        if let Some(variant) = self.variant {
            return Ok(variant);
        }
        let container = match self.to {
            Some(To::Onnx) => Container::Onnx,
            Some(To::Gguf) => Container::Gguf,
            Some(To::Safetensors) => Container::Safetensors,
            None => bail!("say --to onnx, gguf or safetensors"),
        };
        let encoding = match (self.quantise, self.precision) {
            (Some(Quantisation::Int8Dynamic), _) => Encoding::Int8Dynamic,
            (Some(Quantisation::Int8Static), _) => bail!("static INT8 is a form of models of the zoo"),
            (None, Some(Precision::F32) | None) => Encoding::F32,
            (None, Some(Precision::F16)) => Encoding::F16,
            (None, Some(Precision::Q8)) => Encoding::Q8_0,
            (None, Some(Precision::Q4)) => Encoding::Q4_0,
        };
        Variant::of(container, encoding).ok_or_else(|| {
            let fitting = Variant::ALL.into_iter().filter(|variant| variant.container() == container);
            let known: Vec<&str> = fitting.map(|variant| variant.encoding().label()).collect();
            anyhow!(
                "{} does not exist in this kind of file; what does: {}",
                encoding.label(),
                known.join(", ")
            )
        })
    }
}

/// Converts; gives the files where they are the zoo's.
///
/// # Errors
/// What cannot be converted, and what can.
pub(crate) fn convert(
    zoo: &Zoo,
    model: &str,
    name: Option<&str>,
    out: Option<&Path>,
    form: &Form,
) -> anyhow::Result<Option<ModelFiles>> {
    let path = Path::new(model);
    if form.quantise == Some(Quantisation::Int8Static) {
        return calibrated_graph(zoo, model, out, form).map(Some);
    }
    if form.calibrate.is_some() {
        return Err(anyhow!("--calibrate is for --quantise int8-static")).exit(USAGE);
    }
    let variant = form.variant().exit(USAGE)?;
    if path.extension().is_some_and(|extension| extension == "onnx") {
        return own_graph(path, out, variant).map(|()| None);
    }
    if out.is_some() {
        return Err(anyhow!("--out is for an ONNX file of your own; other forms go where all models are"))
            .exit(USAGE);
    }
    if !path.is_file() {
        return zoo.ensure(model, variant).exit(FILES).map(Some);
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    zoo.convert(name.unwrap_or(&stem), path, variant).exit(FILES).map(Some)
}

/// A model of the zoo in static INT8.
fn calibrated_graph(zoo: &Zoo, model: &str, out: Option<&Path>, form: &Form) -> anyhow::Result<ModelFiles> {
    if form.to != Some(To::Onnx) || out.is_some() || !is_ours(model) {
        return Err(anyhow!(
            "static INT8 is made of a model of `models list`, with --to onnx, and goes where all models are"
        ))
        .exit(USAGE);
    }
    let own = match &form.calibrate {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))
                .exit(FILES)?,
        ),
        None => None,
    };
    let calibrator = calibrated::calibrator(&form.calibrator)
        .ok_or_else(|| anyhow!("no calibrator is called `{}`", form.calibrator))
        .exit(USAGE)?;
    let calibration = Calibration { text: own.as_deref().unwrap_or(CALIBRATION), evaluation: EVALUATION };
    calibrated::files(zoo, model, calibrator, calibration)
        .map_err(|missing| anyhow!(missing.reason))
        .exit(FILES)
}

/// A graph that a user exported is quantised and stays the user's.
fn own_graph(path: &Path, out: Option<&Path>, variant: Variant) -> anyhow::Result<()> {
    if variant != Variant::Int8DynamicOnnx {
        return Err(anyhow!(
            "an ONNX file can be quantised (--to onnx --quantise int8-dynamic) and not turned into {variant}"
        ))
        .exit(USAGE);
    }
    let out = out.ok_or_else(|| anyhow!("say with --out where the quantised file goes")).exit(USAGE)?;
    if out.exists() {
        return Err(anyhow!("{} exists; remove it, or say another --out", out.display())).exit(USAGE);
    }
    let model = Model::read(path).exit(FILES)?;
    let quantised = quantise::dynamic_int8(&model, &quantise::DynamicOptions::default()).exit(FILES)?;
    quantised.write(out).exit(FILES)?;
    say!("{}", out.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        form: Form,
    }

    fn variant(line: &str) -> Result<Variant, String> {
        let words = ["convert"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.form.variant().map_err(|error| error.to_string())
    }

    #[test]
    fn words_become_variants() {
        for (line, expected) in [
            ("--to onnx", Variant::F32Onnx),
            ("--to onnx --precision F16", Variant::F16Onnx),
            ("--to onnx --quantise int8-dynamic", Variant::Int8DynamicOnnx),
            ("--to gguf --precision q4_0", Variant::Q4Gguf),
            ("--to safetensors", Variant::F32Safetensors),
            ("--variant gguf-q8_0", Variant::Q8Gguf),
        ] {
            assert_eq!(variant(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        assert!(variant("--to onnx --precision Q8_0").unwrap_err().contains("F32, F16, INT8 dynamic"));
        assert!(variant("--to gguf --quantise int8-dynamic").unwrap_err().contains("Q8_0"));
        assert!(variant("").unwrap_err().contains("--to"));
        assert!(variant("--to onnx --quantise int8-static").unwrap_err().contains("zoo"));
        assert!(variant("--to onnx --variant onnx-f32").unwrap_err().contains("cannot be used"));
        assert!(
            variant("--to onnx --precision F16 --quantise int8-dynamic")
                .unwrap_err()
                .contains("cannot be used")
        );
    }

    #[test]
    fn graphs_of_ones_own_are_quantised_beside_the_zoo() {
        let dir = tempfile::tempdir().unwrap();
        let zoo = Zoo::open(dir.path().join("zoo")).unwrap();
        let form =
            |line: &str| Line::try_parse_from(["convert"].into_iter().chain(line.split(' '))).unwrap().form;
        let made = convert(&zoo, "llama-0.1m", None, None, &form("--to onnx")).unwrap().unwrap();
        let graph = made.weights.to_str().unwrap();
        let out = dir.path().join("small.onnx");
        let int8 = form("--to onnx --quantise int8-dynamic");
        assert!(convert(&zoo, graph, None, None, &int8).unwrap_err().to_string().contains("exit code 2"));
        assert!(convert(&zoo, graph, None, Some(&out), &int8).unwrap().is_none());
        assert!(Model::read(&out).unwrap().initializer("model.embed_tokens.weight_quantised").is_some());
        // Nothing is overwritten, and a graph is no source of other files.
        assert!(convert(&zoo, graph, None, Some(&out), &int8).is_err());
        assert!(convert(&zoo, graph, None, None, &form("--to gguf")).is_err());
    }
}

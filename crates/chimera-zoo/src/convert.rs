//! From one GGUF file to the other forms: its weights are dequantised and go through the writers that generated
//! weights go through, so that one real model can reach every backend. What was lost when the file was quantised stays lost,
//! and the arm's name says so: `Q8_0 from Q4_1`.

use std::path::Path;

use crate::error::ZooError;
use crate::gguf::names::layout;
use crate::gguf::{GgufFile, Value, meta};
use crate::hash::{sha256_file, sha256_of};
use crate::making::{Running, Work};
use crate::manifest::Origin;
use crate::safetensors::Written;
use crate::spec::{ModelSpec, TensorDef};
use crate::store::{ModelFiles, Zoo, writers};
use crate::tokenizer::Tokenizer;
use crate::variant::Variant;
use crate::weights::TensorSource;
use crate::write::{Job, refuse_what_cannot_exist, write_model};

/// A GGUF file as a source of weights in Hugging Face's layout.
#[derive(Debug)]
pub struct GgufModel {
    file: GgufFile,
    spec: ModelSpec,
}

impl GgufModel {
    /// Opens a file and checks that it holds the tensors of its architecture, and no others.
    ///
    /// # Errors
    /// [`ZooError::Unsupported`] for an architecture, tensor, type or key that is not read here;
    /// [`ZooError::Corrupt`] and [`ZooError::Io`] as [`GgufFile::open`].
    pub fn open(path: &Path, name: &str) -> Result<Self, ZooError> {
        let file = GgufFile::open(path)?;
        let spec = meta::spec_of(&file, name)?;
        let unsupported = |what: String| ZooError::Unsupported { path: path.to_path_buf(), what };
        // A block has tensors: a count of blocks beyond theirs is damage, and must not be believed by making the list.
        let (blocks, tensors) = (spec.shape().layers, file.tensors().len());
        if blocks > tensors {
            return Err(unsupported(format!("a model of {blocks} blocks in {tensors} tensors")));
        }
        let mut known = Vec::new();
        for def in spec.tensors() {
            let layout = layout(&spec, &def.name)
                .ok_or_else(|| unsupported(format!("no place in GGUF for {}", def.name)))?;
            let tensor =
                file.tensor(&layout.name).ok_or_else(|| unsupported(format!("no tensor {}", layout.name)))?;
            let expected = layout.shape(&def.shape);
            if tensor.shape != expected {
                let what =
                    format!("tensor {} of shape {:?}, expected {expected:?}", tensor.name, tensor.shape);
                return Err(unsupported(what));
            }
            file.kind(tensor)?;
            known.push(layout.name);
        }
        if let Some(other) = file.tensors().iter().find(|t| !known.contains(&t.name)) {
            return Err(unsupported(format!(
                "tensor {}, which {} has not",
                other.name,
                spec.family().name()
            )));
        }
        Ok(Self { file, spec })
    }

    /// The specification that the file's metadata describe.
    #[must_use]
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &GgufFile {
        &self.file
    }

    /// How the file says it is stored, such as `Q4_1` or `Q4_K_M`; where it does not say, the type that most of its
    /// weights have.
    #[must_use]
    pub fn encoding(&self) -> String {
        // llama.cpp's `enum llama_ftype`.
        let said = match self.file.get("general.file_type").and_then(Value::as_u64) {
            Some(0) => Some("F32"),
            Some(1) => Some("F16"),
            Some(2) => Some("Q4_0"),
            Some(3) => Some("Q4_1"),
            Some(7) => Some("Q8_0"),
            Some(8) => Some("Q5_0"),
            Some(9) => Some("Q5_1"),
            Some(14) => Some("Q4_K_S"),
            Some(15) => Some("Q4_K_M"),
            Some(16) => Some("Q5_K_S"),
            Some(17) => Some("Q5_K_M"),
            Some(18) => Some("Q6_K"),
            Some(32) => Some("BF16"),
            _ => None,
        };
        if let Some(said) = said {
            return said.to_owned();
        }
        let mut weights: Vec<(&str, usize)> = Vec::new();
        for tensor in self.file.tensors() {
            let label = tensor.kind().map_or("?", |k| k.label());
            match weights.iter_mut().find(|(l, _)| *l == label) {
                Some((_, n)) => *n += tensor.elements(),
                None => weights.push((label, tensor.elements())),
            }
        }
        weights.into_iter().max_by_key(|(_, n)| *n).map_or("?", |(l, _)| l).to_owned()
    }

    /// The licence that the file names, or `unknown`.
    #[must_use]
    pub fn licence(&self) -> &str {
        self.file.get("general.license").and_then(Value::as_str).unwrap_or("unknown")
    }

    /// What the file holds, as a writer would tell it.
    pub(crate) fn written(&self) -> Result<Vec<Written>, ZooError> {
        self.file
            .tensors()
            .iter()
            .map(|t| {
                let kind = self.file.kind(t)?;
                let bytes = kind.bytes_of(t.elements() as u64).unwrap_or_default();
                Ok(Written { name: t.name.clone(), stored: kind.label(), bytes })
            })
            .collect()
    }
}

impl TensorSource for GgufModel {
    fn values(&self, def: &TensorDef) -> Result<Vec<f32>, ZooError> {
        let found = layout(&self.spec, &def.name).and_then(|l| self.file.tensor(&l.name).map(|t| (l, t)));
        let (layout, tensor) = found.ok_or_else(|| ZooError::Unsupported {
            path: self.file.path().to_path_buf(),
            what: format!("no tensor for {}", def.name),
        })?;
        Ok(layout.restore(self.file.values(tensor)?, &def.shape))
    }
}

impl Zoo {
    /// A GGUF file's model in another form, converted if the folder has it not. `name` is the model's name here; the
    /// form is filed under the source's content, so a changed source is converted anew.
    ///
    /// # Errors
    /// [`ZooError::Unsupported`] and [`ZooError::Corrupt`] of the source; [`ZooError::Skipped`] where the variant cannot
    /// exist; otherwise as [`Zoo::ensure`].
    pub fn convert(&self, name: &str, source: &Path, variant: Variant) -> Result<ModelFiles, ZooError> {
        let sha256 = sha256_file(source)?;
        self.convert_hashed(name, source, sha256, variant)
    }

    /// As [`Zoo::convert`], for a source whose SHA-256 is known.
    pub(crate) fn convert_hashed(
        &self,
        name: &str,
        source: &Path,
        sha256: String,
        variant: Variant,
    ) -> Result<ModelFiles, ZooError> {
        if variant == Variant::Int8DynamicOnnx {
            let from = self.convert_hashed(name, source, sha256, Variant::F32Onnx)?;
            return self.derive_dynamic(&from);
        }
        let content = sha256_of(format!("{} convert {name} {sha256}", writers(variant)).as_bytes());
        let dir = self.root().join(format!("{name}-{}", &content[..16])).join(variant.name());
        if dir.is_dir() {
            return ModelFiles::open(&dir);
        }
        let running = Running::new(Work::writing(variant));
        let model = GgufModel::open(source, name)?;
        refuse_what_cannot_exist(&model.spec, variant)?;
        let encoding = model.encoding();
        let spec = model.spec.clone();
        let job = Job {
            spec: &spec,
            variant,
            arm: format!("{} from {encoding}", variant.encoding().label()),
            origin: Origin::Converted {
                file: source.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
                sha256,
                encoding,
            },
            licence: model.licence().to_owned(),
            tokenizer: Tokenizer::of_file(&model.file),
            source: Box::new(model),
        };
        self.ensure_dir(&dir, running, |dir| write_model(dir, &job))
    }
}

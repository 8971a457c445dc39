//! Graphs made of graphs: a quantised form lies beside the form that it was made of, with the same configuration and
//! tokenizer. How it is made is the caller's: static quantisation takes ranges that only somebody who runs graphs can
//! measure.

use std::collections::BTreeMap;
use std::fs;

use chimera_onnx::quantise::{DynamicOptions, dynamic_int8};
use chimera_onnx::{Model, OnnxError, audit};

use crate::error::ZooError;
use crate::hash::HashedFile;
use crate::making::{Running, Work};
use crate::manifest::{FileEntry, Manifest};
use crate::store::{ModelFiles, Zoo};
use crate::variant::{Container, Variant};

impl Zoo {
    /// A graph made of another by `make`, which is called if the folder has it not. `form` names its folder, beside that of
    /// `from`, and must tell apart everything that shapes the graph, ranges included; `arm` names it in tables.
    ///
    /// # Errors
    /// [`ZooError::Unsupported`] if `from` is no graph, [`ZooError::InvalidSpec`] for a form that is no name of a folder;
    /// [`ZooError::Onnx`] from reading, `make` and writing; otherwise as [`Zoo::ensure`].
    pub fn derive(
        &self,
        from: &ModelFiles,
        form: &str,
        arm: &str,
        make: impl FnOnce(&Model) -> Result<Model, OnnxError>,
    ) -> Result<ModelFiles, ZooError> {
        let old = &from.manifest;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if form.is_empty() || form.starts_with('.') || !form.chars().all(plain) {
            let detail = format!("`{form}` is no name of a form: lower-case letters, digits, - and _");
            return Err(ZooError::InvalidSpec { model: old.name.clone(), detail });
        }
        if old.variant.is_none_or(|variant| variant.container() != Container::Onnx) {
            return Err(ZooError::Unsupported {
                path: from.weights.clone(),
                what: "no graph in ONNX".to_owned(),
            });
        }
        let parent = from.dir.parent().unwrap_or(self.root());
        self.ensure_dir(&parent.join(form), Running::from(from, Work::Quantisation), |dir| {
            let model = make(&Model::read(&from.weights)?)?;
            let path = dir.join(&old.weights);
            let mut out = HashedFile::create(&path)?;
            model.write_with(|data| out.write(data), |tensor| Ok(tensor.load()?.into()))?;
            let (bytes, sha256) = out.finish()?;
            let mut files = vec![FileEntry { name: old.weights.clone(), bytes, sha256 }];
            for entry in old.files.iter().filter(|entry| entry.name != old.weights) {
                let (source, target) = (from.dir.join(&entry.name), dir.join(&entry.name));
                fs::copy(&source, &target).map_err(ZooError::io("copy", &source))?;
                files.push(entry.clone());
            }
            let mut types = BTreeMap::new();
            for tensor in &model.initializers {
                *types.entry(tensor.kind.label().to_owned()).or_insert(0) += 1;
            }
            Ok(Manifest {
                variant: Variant::ALL.into_iter().find(|variant| variant.name() == form),
                arm: arm.to_owned(),
                files,
                bytes_per_decode_token: audit(&model).weight_bytes_per_token,
                tensor_types: types.into_iter().collect(),
                ..old.clone()
            })
        })
    }

    /// `onnx-int8-dynamic` of `onnx-f32`.
    pub(crate) fn derive_dynamic(&self, from: &ModelFiles) -> Result<ModelFiles, ZooError> {
        let variant = Variant::Int8DynamicOnnx;
        // `F32 from Q4_1` becomes `INT8 dynamic from Q4_1`.
        let origin = from.manifest.arm.strip_prefix("F32").unwrap_or_default();
        let arm = format!("{}{origin}", variant.encoding().label());
        self.derive(from, variant.name(), &arm, |model| dynamic_int8(model, &DynamicOptions::default()))
    }
}

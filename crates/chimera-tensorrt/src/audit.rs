//! Which layers of a built engine hold and compute which precision, read off what TensorRT itself says of the engine: the
//! list of layers that its builder writes at the end of a build, and that its inspector gives of a resident engine. The
//! first needs no device; the second does. Which graph was asked for is not looked at: a claim is checked against what was
//! built.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What a graph is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Precision {
    /// Weights and activations in F32.
    F32,
    /// Weights and activations in F16.
    F16,
    /// Weights and activations of products in 8 bits, by pairs of quantise and dequantise.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Int8 => "INT8",
        })
    }
}

/// Layers that multiply by matrices of weights, by what they read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Products {
    /// Types of the activations, as TensorRT names them (`Float`, `Half`, `Int8`).
    pub activations: String,
    /// Type of the weights.
    pub weights: String,
    /// How many such layers there are, each profile's counted.
    pub layers: u64,
    /// Elements of their weights.
    pub elements: u64,
}

/// What a built engine is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EngineAudit {
    /// Layers of all profiles.
    pub layers: u64,
    /// Layers by kind and types of outputs: `gemm -> Float`.
    pub kinds: BTreeMap<String, u64>,
    /// Layers with matrices of weights.
    pub products: Vec<Products>,
    /// Elements of matrices in layers that read integers: tables that rows are looked up in, by type.
    pub tables: BTreeMap<String, u64>,
    /// Lines that could not be read; with any, no claim holds.
    pub unread: u64,
}

impl EngineAudit {
    /// Reads the list of layers, one a line.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut audit = Self::default();
        let mut products: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| line.contains(", LayerType: ")) {
            let Some(layer) = Layer::read(line) else {
                audit.unread += 1;
                continue;
            };
            audit.layers += 1;
            *audit.kinds.entry(format!("{} -> {}", layer.kind, types(&layer.outputs))).or_default() += 1;
            let looks_up = layer.inputs.iter().any(|tensor| tensor.element == "Int64");
            let mut matrices: BTreeMap<&str, u64> = BTreeMap::new();
            for constant in layer.constants.iter().filter(|constant| constant.is_matrix()) {
                *matrices.entry(constant.element).or_default() += constant.elements();
            }
            for (element, elements) in matrices {
                if looks_up {
                    *audit.tables.entry(element.to_owned()).or_default() += elements;
                } else {
                    let of = products.entry((types(&layer.inputs), element.to_owned())).or_default();
                    of.0 += 1;
                    of.1 += elements;
                }
            }
        }
        audit.products = products
            .into_iter()
            .map(|((activations, weights), (layers, elements))| Products {
                activations,
                weights,
                layers,
                elements,
            })
            .collect();
        audit
    }

    /// Share of the weights in products that are of a type; `None` without any.
    #[must_use]
    pub fn held(&self, element: &str) -> Option<f64> {
        self.part(|products| products.weights == element)
    }

    /// Share of the weights in products that are of a type and meet activations of it; `None` without any.
    #[must_use]
    pub fn share(&self, element: &str) -> Option<f64> {
        self.part(|products| {
            products.weights == element && products.activations.split('+').any(|name| name == element)
        })
    }

    fn part(&self, of: impl Fn(&Products) -> bool) -> Option<f64> {
        let all: u64 = self.products.iter().map(|products| products.elements).sum();
        let held: u64 =
            self.products.iter().filter(|products| of(products)).map(|products| products.elements).sum();
        (all > 0).then(|| held as f64 / all as f64)
    }

    /// Whether a claim holds. F32 and F16 want the weights of every product in their type; where a norm is fused with the
    /// product behind it, an F16 product reads what the norm summed in F32. INT8 wants some products whose weights and
    /// activations are both in 8 bits, and [`EngineAudit::share`] says how many.
    ///
    /// # Errors
    /// What was found instead.
    pub fn supports(&self, claim: Precision) -> Result<(), String> {
        if self.unread > 0 {
            return Err(format!("{} layers of the engine could not be read", self.unread));
        }
        let (element, all) = match claim {
            Precision::F32 => ("Float", true),
            Precision::F16 => ("Half", true),
            Precision::Int8 => ("Int8", false),
        };
        let (Some(held), Some(share)) = (self.held(element), self.share(element)) else {
            return Err(format!("the engine has no product to be {claim}"));
        };
        if share > 0.0 && (!all || held >= 1.0) {
            return Ok(());
        }
        Err(format!(
            "{claim} is claimed, and of the weights in products {:.1} % are {element}, {:.1} % with activations of it: \
             {self}",
            100.0 * held,
            100.0 * share
        ))
    }
}

impl fmt::Display for EngineAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} layers", self.layers)?;
        for products in &self.products {
            write!(
                f,
                "; {} products of {} by {} weights ({} elements)",
                products.layers, products.activations, products.weights, products.elements
            )?;
        }
        for (element, elements) in &self.tables {
            write!(f, "; tables of {element} ({elements} elements)")?;
        }
        if self.unread > 0 {
            write!(f, "; {} lines not understood", self.unread)?;
        }
        Ok(())
    }
}

/// One layer of the list.
#[derive(Debug)]
struct Layer<'a> {
    kind: &'a str,
    inputs: Vec<Tensor<'a>>,
    constants: Vec<Tensor<'a>>,
    outputs: Vec<Tensor<'a>>,
}

#[derive(Debug)]
struct Tensor<'a> {
    element: &'a str,
    dims: &'a str,
}

impl<'a> Layer<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (_, rest) = line.strip_prefix("Name: ")?.split_once(", LayerType: ")?;
        let (kind, rest) = rest.split_once(", ")?;
        let (inputs, rest) = rest.strip_prefix("Inputs: [")?.split_once("Outputs: [")?;
        let (inputs, constants) = inputs.split_once("Constants: [").unwrap_or((inputs, ""));
        // Behind the outputs come fields that depend on the kind of layer.
        let end = ["], TacticName:", "], ParameterType:", "], TacticValue:"]
            .into_iter()
            .filter_map(|mark| rest.find(mark))
            .min()
            .or_else(|| rest.find("],"))?;
        Some(Self {
            kind,
            inputs: tensors(inputs)?,
            constants: tensors(constants)?,
            outputs: tensors(rest.get(..end)?)?,
        })
    }
}

/// Tensors of a list; `None` where one has no type.
fn tensors(list: &str) -> Option<Vec<Tensor<'_>>> {
    list.split("{ Name: ")
        .skip(1)
        .map(|text| {
            let (_, element) = text.rsplit_once("Datatype: ")?;
            let (_, dims) = text.rsplit_once("Dimensions: [")?;
            Some(Tensor { element: element.split([',', ' ', '}']).next()?, dims: dims.split(']').next()? })
        })
        .collect()
}

impl Tensor<'_> {
    fn extents(&self) -> impl Iterator<Item = u64> {
        self.dims.split(',').filter_map(|extent| extent.trim().parse().ok())
    }

    fn is_matrix(&self) -> bool {
        self.extents().filter(|&extent| extent > 1).count() >= 2
    }

    fn elements(&self) -> u64 {
        self.extents().product()
    }
}

/// The types of some tensors, each once.
fn types(tensors: &[Tensor<'_>]) -> String {
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.element).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { "nothing".to_owned() } else { names.join("+") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as TensorRT for RTX 1.7 writes them, shortened in nothing but the number of layers.
    const INT8: &str = "\
Layers:
Name: [ShapeHostToDeviceCopy 0], LayerType: ShapeHostToDevice, Inputs: [], Outputs: [ { Name: (Unnamed Layer* 15) [Cast]_output, Location: Device, Dimensions: [], Datatype: Int64, Format: Format not available due to dynamic shapes }], ParameterType: ShapeH2D, shapeValues0: [-47], TacticValue: 0x0000000000000000, StreamId: 0, Metadata: 
Name: __mye5121_0_myl1_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: 
Name: __myl_CastGath_myl1_1, LayerType: kgen, Inputs: [ { Name: position_ids, Dimensions: [1,-1], Strides: [-1,1], StrideOrder: [1,0], Datatype: Int64, Format: (Linear) Row major linear format }], Constants: [ { Name: wte_constantFloat_myl1, Dimensions: [128,64], Strides: [64,1], StrideOrder: [1,0], Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [ { Name: __mye16176_47_myl1, Dimensions: [1,-1,64], Strides: [-1,64,1], StrideOrder: [2,1,0], Datatype: Int8, Format: (Linear) Row major linear format }, { Name: __myln_k_arg__bb1_46_myl1, Dimensions: [1,-1,64], Strides: [-1,64,1], StrideOrder: [2,1,0], Datatype: Float, Format: (Linear) Row major linear format }], TacticName: __myl_CastGath_0x11994d98e5748da1e017cfc84bcedddf, StreamId: 0, Metadata: [ONNX Layer: pe_n]
Name: v0_n+k0_n+q0_n_myl1_2, LayerType: gemm, Inputs: [ { Name: input [profile 1], Dimensions: [1,-1,64], Strides: [-1,64,1], StrideOrder: [2,1,0], Datatype: Int8, Format: (Linear) Row major linear format }], Constants: [ { Name: __mye16171_dconst_myl1, Dimensions: [1,64,192], Strides: [12288,192,1], StrideOrder: [2,1,0], Datatype: Int8, Format: (Linear) Row major linear format }, { Name: __mye14850v0_n_alpha_myl1, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [ { Name: __mye16176_myl1, Dimensions: [1,-1,192], Strides: [-1,192,1], StrideOrder: [2,1,0], Datatype: Float, Format: (Linear) Row major linear format }], TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: v0_n]
";

    #[test]
    fn the_list_of_layers_is_read() {
        let audit = EngineAudit::read(INT8);
        assert_eq!((audit.layers, audit.unread), (4, 0));
        assert_eq!(audit.kinds["gemm -> Float"], 1);
        assert_eq!(audit.kinds["kgen -> Float+Int8"], 1);
        assert_eq!(audit.kinds["shape_call -> nothing"], 1);
        assert_eq!(audit.tables["Float"], 128 * 64);
        let [products] = audit.products.as_slice() else { panic!("{audit}") };
        assert_eq!((products.activations.as_str(), products.weights.as_str()), ("Int8", "Int8"));
        assert_eq!((products.layers, products.elements), (1, 64 * 192));
        assert_eq!(audit.supports(Precision::Int8), Ok(()));
    }

    #[test]
    fn a_label_is_no_evidence() {
        // The published engines were called INT8 and held none: everything below Float is refused.
        let float = INT8.replace("Datatype: Int8", "Datatype: Float");
        let audit = EngineAudit::read(&float);
        let said = audit.supports(Precision::Int8).unwrap_err();
        assert!(said.contains("0.0 %") && said.contains("1 products of Float by Float"), "{said}");
        assert_eq!(audit.held("Int8"), Some(0.0));
        assert_eq!(audit.supports(Precision::F32), Ok(()));
        assert!(audit.supports(Precision::F16).is_err());
        // 8-bit weights that are widened before the product are not an INT8 product.
        let widened = INT8.replacen(
            "Datatype: Int8, Format: (Linear) Row major linear format }], Constants",
            "Datatype: Half, Format: (Linear) Row major linear format }], Constants",
            1,
        );
        let audit = EngineAudit::read(&widened);
        assert!(audit.supports(Precision::Int8).is_err());
        assert_eq!((audit.held("Int8"), audit.share("Int8")), (Some(1.0), Some(0.0)));
        assert!(EngineAudit::read("").supports(Precision::F32).unwrap_err().contains("no product"));
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_spoils_every_claim() {
        let odd = format!("{INT8}Name: new, LayerType: kind, in another form\n");
        let audit = EngineAudit::read(&odd);
        assert_eq!((audit.layers, audit.unread), (4, 1));
        assert!(audit.supports(Precision::Int8).unwrap_err().contains("could not be read"));
        for end in (0..INT8.len()).step_by(7) {
            if INT8.is_char_boundary(end) {
                let _ = EngineAudit::read(&INT8[..end]);
            }
        }
    }
}

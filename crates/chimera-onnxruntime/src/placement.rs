//! Which provider each node of a session was given to. A provider that is registered may still leave nodes to the CPU, and
//! a run says nothing of it; the library's own list does.

use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char},
};

use ort::{AsPointer, session::Session, sys};

use crate::options::Provider;

/// Session option that makes the library keep the list.
pub(crate) const RECORD: &str = "session.record_ep_graph_assignment_info";

/// Parts of operators' names whose work is a model's work: where one of these is on the CPU, the CPU computes the model.
/// What is not among them may be arithmetic on shapes, which providers leave to the CPU on purpose.
const WORK: &[&str] = &[
    "MatMul",
    "Gemm",
    "Attention",
    "Norm",
    "Softmax",
    "Gelu",
    "Conv",
    "QuickGelu",
    "RotaryEmbedding",
    "Mlp",
];

/// Operators and how often they occur, by provider.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Placement(BTreeMap<String, BTreeMap<String, usize>>);

impl Placement {
    /// Makes sure that a provider computes the model.
    pub(crate) fn check(&self, provider: Provider) -> Result<(), String> {
        let wanted: &[&str] = match provider {
            Provider::Cpu => &["CPUExecutionProvider"],
            Provider::Cuda(_) => &["CUDAExecutionProvider"],
            Provider::TensorRt(_) => &["TensorrtExecutionProvider", "CUDAExecutionProvider"],
        };
        let first = wanted.first().copied().unwrap_or_default();
        if self.0.get(first).is_none_or(BTreeMap::is_empty) {
            return Err(format!("{provider}: {first} was given no node of the graph ({self})"));
        }
        let strays: Vec<String> = self
            .0
            .iter()
            .filter(|(name, _)| !wanted.contains(&name.as_str()))
            .flat_map(|(name, operators)| operators.keys().map(move |operator| (name, operator)))
            .filter(|(_, operator)| WORK.iter().any(|part| operator.contains(part)))
            .map(|(name, operator)| format!("{operator} on {name}"))
            .collect();
        if strays.is_empty() {
            Ok(())
        } else {
            Err(format!("{provider} would not compute the model: {}", strays.join(", ")))
        }
    }
}

impl std::fmt::Display for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for (name, operators) in &self.0 {
            write!(f, "{separator}{name}: {} nodes", operators.values().sum::<usize>())?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The list of a session that was made with [`RECORD`].
#[expect(unsafe_code, reason = "ort has no safe way to this list")]
pub(crate) fn of(session: &Session) -> Result<Placement, String> {
    let api = ort::api();
    let check = |status: sys::OrtStatusPtr| {
        // SAFETY: each status comes from a call of this interface and is given here once.
        unsafe { ort::Error::result_from_status(status) }.map_err(|error| error.message().to_owned())
    };
    let text = |pointer: *const c_char| {
        if pointer.is_null() {
            return String::new();
        }
        // SAFETY: not null, and by the interface a text with a zero byte at its end that lives as long as the session.
        unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
    };
    let (mut subgraphs, mut count) = (std::ptr::null(), 0);
    // SAFETY: the session is alive, and both places are written.
    check(unsafe { (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut subgraphs, &mut count) })?;
    let mut placement = Placement::default();
    for index in 0..if subgraphs.is_null() { 0 } else { count } {
        // SAFETY: the call above gave `count` pointers, which live as long as the session.
        let subgraph = unsafe { *subgraphs.add(index) };
        let mut name = std::ptr::null();
        // SAFETY: the pointer is one of that list.
        check(unsafe { (api.EpAssignedSubgraph_GetEpName)(subgraph, &mut name) })?;
        let operators = placement.0.entry(text(name)).or_default();
        let (mut nodes, mut length) = (std::ptr::null(), 0);
        // SAFETY: as above.
        check(unsafe { (api.EpAssignedSubgraph_GetNodes)(subgraph, &mut nodes, &mut length) })?;
        for index in 0..if nodes.is_null() { 0 } else { length } {
            let mut operator = std::ptr::null();
            // SAFETY: the call above gave `length` pointers, which live as long as the session.
            check(unsafe { (api.EpAssignedNode_GetOperatorType)(*nodes.add(index), &mut operator) })?;
            *operators.entry(text(operator)).or_default() += 1;
        }
    }
    Ok(placement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(nodes: &[(&str, &str)]) -> Placement {
        let mut placement = Placement::default();
        for (provider, operator) in nodes {
            *placement
                .0
                .entry((*provider).to_owned())
                .or_default()
                .entry((*operator).to_owned())
                .or_default() += 1;
        }
        placement
    }

    #[test]
    fn a_silent_fall_back_is_an_error() {
        let (cuda, cpu) = ("CUDAExecutionProvider", "CPUExecutionProvider");
        let whole = placed(&[(cuda, "MatMul"), (cuda, "Softmax"), (cpu, "Shape"), (cpu, "Gather")]);
        assert_eq!(whole.check(Provider::Cuda(0)), Ok(()));
        let none = placed(&[(cpu, "MatMul")]);
        assert!(none.check(Provider::Cuda(0)).expect_err("no node").contains("no node"));
        let half = placed(&[(cuda, "MatMul"), (cpu, "MatMulInteger"), (cpu, "Shape")]);
        let said = half.check(Provider::Cuda(0)).expect_err("half of it");
        assert!(said.contains("MatMulInteger on CPUExecutionProvider") && !said.contains("Shape"), "{said}");
        // TensorRT's leftovers may be CUDA's, not the CPU's, and not everything.
        let tensorrt = placed(&[("TensorrtExecutionProvider", "MatMul"), (cuda, "Softmax")]);
        assert_eq!(tensorrt.check(Provider::TensorRt(0)), Ok(()));
        assert!(placed(&[(cuda, "MatMul")]).check(Provider::TensorRt(0)).is_err());
    }
}

//! Is the graph one? Every value must be given before it is used and only once, every operator and its domain must be
//! known, and outputs must exist. Types and shapes are left to whoever runs it.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::error::{OnnxError, Result};
use crate::model::Model;
use crate::operators::{NEWEST_OPSET, is_known};
use crate::proto::{GraphProto, NodeProto, OperatorSetIdProto};
use crate::read::{ReadOptions, inner_graphs};

impl Model {
    /// Checks the graph as [`Model::read`] does: for graphs that were built or changed.
    ///
    /// # Errors
    /// [`OnnxError::Graph`], [`OnnxError::UnknownOperator`] and [`OnnxError::Unsupported`], as [`Model::read`].
    pub fn check(&self, options: &ReadOptions) -> Result<()> {
        let file = self.label();
        let functions: HashSet<(&str, &str)> = self
            .proto
            .functions
            .iter()
            .map(|function| (domain_of(function.domain()), function.name()))
            .collect();
        let mut check =
            Check { file: &file, options, functions, unknown: BTreeSet::new(), defined: HashSet::new() };
        check.versions(&self.proto.opset_import)?;
        let mut names = HashSet::new();
        for tensor in &self.initializers {
            if tensor.name.is_empty() || !names.insert(tensor.name.as_str()) {
                return Err(
                    check.wrong(format!("two constants are called `{}`, or one has no name", tensor.name))
                );
            }
        }
        check.graph(self.graph(), self.initializers.iter().map(|tensor| tensor.name.as_str()))?;
        check.imported(&self.proto.opset_import, &self.graph().node)?;
        for function in &self.proto.functions {
            let outer = std::mem::take(&mut check.defined);
            let inputs = function.input.iter().map(String::as_str);
            check.nodes(
                function.name(),
                inputs,
                &function.node,
                function.output.iter().map(String::as_str),
            )?;
            check.imported(&function.opset_import, &function.node)?;
            check.defined = outer;
        }
        if check.unknown.is_empty() {
            return Ok(());
        }
        let operators = check.unknown.into_iter().collect();
        Err(OnnxError::UnknownOperator { file: file.clone(), operators })
    }
}

fn domain_of(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

struct Check<'a> {
    file: &'a str,
    options: &'a ReadOptions,
    functions: HashSet<(&'a str, &'a str)>,
    unknown: BTreeSet<String>,
    /// Values that may be used here.
    defined: HashSet<&'a str>,
}

impl<'a> Check<'a> {
    fn wrong(&self, detail: String) -> OnnxError {
        OnnxError::Graph { file: self.file.to_owned(), detail }
    }

    fn versions(&self, sets: &[OperatorSetIdProto]) -> Result<()> {
        for set in sets {
            let newest = if domain_of(set.domain()).is_empty() { NEWEST_OPSET } else { i64::MAX };
            if !(1..=newest).contains(&set.version()) {
                return Err(OnnxError::Unsupported {
                    file: self.file.to_owned(),
                    what: format!("version {} of operator set `{}`", set.version(), set.domain()),
                });
            }
        }
        Ok(())
    }

    /// Every domain in use must be imported.
    fn imported(&self, sets: &[OperatorSetIdProto], nodes: &[NodeProto]) -> Result<()> {
        let imported: HashSet<&str> = sets.iter().map(|set| domain_of(set.domain())).collect();
        let mut open: Vec<&NodeProto> = nodes.iter().collect();
        while let Some(node) = open.pop() {
            if !imported.contains(domain_of(node.domain())) {
                return Err(self.wrong(format!(
                    "node `{}` is of domain `{}`, and no operator set of it is imported",
                    node.name(),
                    node.domain()
                )));
            }
            open.extend(inner_graphs(node).flat_map(|graph| &graph.node));
        }
        Ok(())
    }

    fn graph(&mut self, graph: &'a GraphProto, constants: impl Iterator<Item = &'a str>) -> Result<()> {
        let inner = graph.initializer.iter().map(|tensor| tensor.name());
        let inputs = graph.input.iter().map(|input| input.name());
        let outputs = graph.output.iter().map(|output| output.name());
        self.nodes(graph.name(), constants.chain(inner).chain(inputs), &graph.node, outputs)
    }

    fn nodes(
        &mut self,
        name: &str,
        given: impl Iterator<Item = &'a str>,
        nodes: &'a [NodeProto],
        mut outputs: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let mut added = Vec::new();
        for value in given {
            if self.defined.insert(value) {
                added.push(value);
            }
        }
        for (index, node) in nodes.iter().enumerate() {
            self.operator(node);
            for value in node.input.iter().filter(|value| !value.is_empty()) {
                if !self.defined.contains(value.as_str()) {
                    return Err(self.undefined(nodes, index, value));
                }
            }
            for graph in inner_graphs(node) {
                self.graph(graph, std::iter::empty())?;
            }
            for value in node.output.iter().filter(|value| !value.is_empty()) {
                if !self.defined.insert(value) {
                    return Err(self
                        .wrong(format!("value `{value}` is given twice, the second time by {}", say(node))));
                }
                added.push(value);
            }
        }
        if let Some(value) = outputs.find(|value| !self.defined.contains(value)) {
            return Err(self.wrong(format!("output `{value}` of graph `{name}` is given by no node")));
        }
        for value in added {
            self.defined.remove(value);
        }
        Ok(())
    }

    fn operator(&mut self, node: &'a NodeProto) {
        let (domain, operator) = (domain_of(node.domain()), node.op_type());
        let text = format!("{}:{operator}", if domain.is_empty() { "ai.onnx" } else { domain });
        let allowed = |allowed: &String| *allowed == text || *allowed == format!("{domain}:*");
        if !is_known(domain, operator)
            && !self.functions.contains(&(domain, operator))
            && !self.options.allow.iter().any(allowed)
        {
            self.unknown.insert(text);
        }
    }

    /// Why a value is not there when it is used.
    fn undefined(&self, nodes: &[NodeProto], index: usize, value: &str) -> OnnxError {
        let producers: HashMap<&str, usize> = nodes
            .iter()
            .enumerate()
            .flat_map(|(at, node)| node.output.iter().map(move |output| (output.as_str(), at)))
            .collect();
        let node = say(&nodes[index]);
        let Some(&first) = producers.get(value) else {
            return self.wrong(format!("{node} uses `{value}`, which nothing gives"));
        };
        // Does what gives the value depend on this node?
        let mut open = vec![first];
        let mut seen = HashSet::new();
        while let Some(at) = open.pop() {
            if at == index {
                return self.wrong(format!("{node} uses `{value}`, which is computed from it: a cycle"));
            }
            if seen.insert(at) {
                open.extend(nodes[at].input.iter().filter_map(|input| producers.get(input.as_str())));
            }
        }
        self.wrong(format!("{node} uses `{value}` before {} gives it", say(&nodes[first])))
    }
}

fn say(node: &NodeProto) -> String {
    format!("node `{}` ({})", node.name(), node.op_type())
}

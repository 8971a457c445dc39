//! The types that GGUF files store tensors in: ggml's numbers and names, and how many bytes a block of values takes. How
//! the values are packed is the engines' business.

/// A type of stored values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoding {
    /// ggml's number, as it stands in files.
    pub number: u32,
    /// The name as it is written in names of models.
    pub name: &'static str,
    /// Values in one block; rows are whole blocks.
    pub block: u64,
    /// Bytes of one block.
    pub bytes: u64,
}

const fn of(number: u32, name: &'static str, block: u64, bytes: u64) -> Encoding {
    Encoding { number, name, block, bytes }
}

const ALL: &[Encoding] = &[
    of(0, "F32", 1, 4),
    of(1, "F16", 1, 2),
    of(2, "Q4_0", 32, 18),
    of(3, "Q4_1", 32, 20),
    of(6, "Q5_0", 32, 22),
    of(7, "Q5_1", 32, 24),
    of(8, "Q8_0", 32, 34),
    of(9, "Q8_1", 32, 36),
    of(10, "Q2_K", 256, 84),
    of(11, "Q3_K", 256, 110),
    of(12, "Q4_K", 256, 144),
    of(13, "Q5_K", 256, 176),
    of(14, "Q6_K", 256, 210),
    of(15, "Q8_K", 256, 292),
    of(16, "IQ2_XXS", 256, 66),
    of(17, "IQ2_XS", 256, 74),
    of(18, "IQ3_XXS", 256, 98),
    of(19, "IQ1_S", 256, 50),
    of(20, "IQ4_NL", 32, 18),
    of(21, "IQ3_S", 256, 110),
    of(22, "IQ2_S", 256, 82),
    of(23, "IQ4_XS", 256, 136),
    of(24, "I8", 1, 1),
    of(25, "I16", 1, 2),
    of(26, "I32", 1, 4),
    of(27, "I64", 1, 8),
    of(28, "F64", 1, 8),
    of(29, "IQ1_M", 256, 56),
    of(30, "BF16", 1, 2),
    of(34, "TQ1_0", 256, 54),
    of(35, "TQ2_0", 256, 66),
    of(39, "MXFP4", 32, 17),
    of(40, "NVFP4", 64, 36),
    of(41, "Q1_0", 128, 18),
    of(42, "Q2_0", 64, 18),
];

impl Encoding {
    /// The type of a number in a file.
    #[must_use]
    pub fn of_number(number: u32) -> Option<Self> {
        ALL.iter().find(|encoding| encoding.number == number).copied()
    }

    /// All that are known.
    #[must_use]
    pub fn all() -> &'static [Self] {
        ALL
    }

    /// Bytes of `elements` values in rows of `row`; `None` where the rows are no whole blocks or the product is too large.
    #[must_use]
    pub fn bytes_of(self, elements: u64, row: u64) -> Option<u64> {
        if !row.is_multiple_of(self.block) {
            return None;
        }
        (elements / self.block).checked_mul(self.bytes)
    }
}

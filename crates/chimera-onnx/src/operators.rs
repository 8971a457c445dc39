//! The operators that engines known here have: those of the standard, of its machine-learning and preview domains, and the
//! contributed ones of ONNX Runtime, which optimised graphs are full of. A name here promises no engine's support of a
//! type or version; a name that is missing is a custom operator that no engine has without somebody's library.

use std::collections::HashSet;
use std::sync::OnceLock;

/// The standard domain, `ai.onnx` or empty, all versions up to 28.
const STANDARD: &str = "\
    Abs Acos Acosh Add Affine AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool \
    BatchNormalization Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor \
    BlackmanWindow Cast CastLike CausalConvWithState Ceil Celu CenterCropPad Clip Col2Im Compress Concat \
    ConcatFromSequence Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh Crop CumProd \
    CumSum DFT DeformConv DepthToSpace DequantizeLinear Det DisentangledAttention_TRT Div Dropout \
    DynamicQuantizeLinear DynamicSlice EfficientNMS_TRT Einsum Elu Equal Erf Exp Expand EyeLike Flatten \
    Floor GRU GRUUnit Gather GatherElements GatherND Gelu Gemm GivenTensorFill GlobalAveragePool \
    GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow \
    HannWindow HardSigmoid HardSwish Hardmax Identity If ImageDecoder ImageScaler InstanceNormalization \
    IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual LinearAttention Log LogSoftmax \
    Loop LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean \
    MeanVarianceNormalization MelWeightMatrix MemcpyFromHost MemcpyToHost Min Mish Mod Mul \
    MultilevelCropAndResize_TRT Multinomial Neg NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not \
    OneHot Optional OptionalGetElement OptionalHasElement Or PRelu Pad ParametricSoftplus Pow \
    PyramidROIAlign_TRT QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal \
    RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum \
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare RegexFullMatch \
    Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round STFT Scale ScaledTanh Scan \
    Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase \
    SequenceInsert SequenceLength SequenceMap Shape Shrink Sigmoid Sign SimplifiedLayerNormalization Sin \
    Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split SplitToSequence \
    Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter \
    TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor";

/// `ai.onnx.ml`.
const ML: &str = "\
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer \
    LabelEncoder LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor \
    Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap";

/// `ai.onnx.preview.training`.
const TRAINING: &str = "\
    Adagrad Adam Gradient Momentum";

/// `com.microsoft`, as ONNX Runtime 1.32 registers them.
const MICROSOFT: &str = "\
    Attention AttnLSTM BeamSearch BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu \
    BifurcationDetector BitmaskBiasDropout BitmaskDropout BranchwiseRMSNorm CDist CausalConvWithState \
    ComplexMul ComplexMulConj ConvStateReplay ConvTransposeWithDynamicPads CropAndResize \
    DecoderAttention DecoderMaskedMultiHeadAttention DecoderMaskedSelfAttention DequantizeBFP \
    DequantizeLinear DequantizeWithOrder DynamicQuantizeLSTM DynamicQuantizeMatMul \
    DynamicSparseAttention DynamicTimeWarping EPContext EmbedLayerNormalization EngramGate ExpandDims \
    FastGelu FusedConv FusedGemm FusedMatMul FusedMatMulActivation GatedAdd GatedDeltaNet \
    GatedDeltaNetStateReplay GatedRMSNorm GatedRelativePositionBias GatherBlockQuantized GatherND \
    GatherPacked Gelu GemmFastGelu GemmFloat8 GemmaRotaryEmbedding GreedySearch GridSample GroupNorm \
    GroupQueryAttention HyperConnectionLowRankMix HyperConnectionPostMix HyperConnectionPreMix Inverse \
    Irfft IsAllFinite LinearAttention LinearAttentionGate LongformerAttention MRotaryEmbedding \
    Mamba2Verify MatMulBlockQuantizedFp4Weight MatMulBlockQuantizedFp8Weight MatMulBnb4 MatMulFpQ4 \
    MatMulInteger16 MatMulIntegerToFloat MatMulNBits MatMulNBitsMlp MatMulNBitsQLoRA MatMulNBitsQkv \
    MatMulPacked MaxpoolWithMask MoE MoEGroupRouter MoEPacked MulInteger MultiHeadAttention MurmurHash3 \
    NGramHashMapping NGramRepeatBlock NhwcConv NhwcFusedConv NhwcMaxPool PackedAttention \
    PackedMultiHeadAttention PackedSparseAttentionIndexer PackedSparseAttentionIndexerMerge Pad \
    PagedAttention QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat \
    QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid \
    QLinearSoftmax QLinearWhere QMoE QOrderedAttention QOrderedGelu QOrderedLayerNormalization \
    QOrderedLongformerAttention QOrderedMatMul QuantizeBFP QuantizeLinear QuantizeWithOrder QuickGelu \
    RMSNormRotary Range ReduceSumInteger RelativePositionBias RemovePadding RestorePadding Rfft \
    RotaryEmbedding RouterGateUpProj SampleOp Sampling ScaledSiLU SkipGroupNorm SkipLayerNormalization \
    SkipSimplifiedLayerNormalization Snpe SparseAttention SparseAttentionIndexer SparsePagedAttention \
    SparseToDenseMatMul SpeculativePrefixCommit SwiGLU Tokenizer TorchEmbedding TransposeMatMul Trilu \
    UnfoldTensor Unique VarlenCausalConvWithState VarlenNGramHashMapping WhisperBeamSearch \
    WordConvEmbedding";

/// `com.microsoft.nchwc`: layouts that only optimised graphs hold.
const NCHWC: &str = "\
    AveragePool Conv GlobalAveragePool GlobalMaxPool MaxPool ReorderInput ReorderOutput Upsample";

/// The newest version of the standard operator set that is known here.
pub(crate) const NEWEST_OPSET: i64 = 28;

/// Whether an operator is known.
pub(crate) fn is_known(domain: &str, operator: &str) -> bool {
    type Sets = [(&'static str, HashSet<&'static str>); 5];
    static SETS: OnceLock<Sets> = OnceLock::new();
    let sets = SETS.get_or_init(|| {
        [
            ("", STANDARD),
            ("ai.onnx.ml", ML),
            ("ai.onnx.preview.training", TRAINING),
            ("com.microsoft", MICROSOFT),
            ("com.microsoft.nchwc", NCHWC),
        ]
        .map(|(domain, names)| (domain, names.split_whitespace().collect()))
    });
    let domain = if domain == "ai.onnx" { "" } else { domain };
    sets.iter().any(|(known, names)| *known == domain && names.contains(operator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_of_each_domain_are_known_and_others_are_not() {
        assert!(is_known("", "MatMulInteger") && is_known("ai.onnx", "Softmax"));
        assert!(is_known("com.microsoft", "DynamicQuantizeMatMul"));
        assert!(is_known("", "SimplifiedLayerNormalization"));
        assert!(is_known("ai.onnx.ml", "TreeEnsemble"));
        assert!(!is_known("", "DynamicQuantizeMatMul") && !is_known("com.example", "MatMul"));
        assert!(!is_known("", "") && !is_known("", "matmul"));
    }
}

//! Tests of hypotheses: one sample, two samples, several groups, tables of counts, and equivalence. A test returns a
//! [`Test`], which gives its p only to a caller who names the alpha: below three values, without noise, or where no
//! arrangement of the data could reach that alpha, it refuses and says why. Size and direction of a difference are not
//! here but in [`crate::effect`].

mod anova;
mod brunner_munzel;
mod contingency;
mod friedman;
mod group_law;
mod kolmogorov;
mod kruskal;
mod mann_whitney;
mod multiplicity;
mod outcome;
mod permutation;
mod sign;
mod single;
mod skewness;
mod t;
mod tost;
mod wilcoxon;

pub(crate) use anova::Between;
pub use anova::{brown_forsythe, levene, one_way_anova, welch_anova};
pub use brunner_munzel::brunner_munzel;
pub use contingency::{CountTest, chi_squared, chi_squared_fit, fisher_exact};
pub use friedman::{friedman, friedman_by, friedman_conover, friedman_nemenyi};
pub use kolmogorov::kolmogorov_smirnov;
pub use kruskal::{kruskal_dunn, kruskal_wallis, kruskal_wallis_by};
pub(crate) use mann_whitney::SubsetSums;
pub use mann_whitney::mann_whitney;
pub use multiplicity::{benjamini_hochberg, holm, holm_of};
pub use outcome::{Alternative, Decision, GroupNull, Null, PostHoc, RankNull, Refusal, Test};
pub use permutation::{permutation, permutation_paired};
pub use sign::{sign, sign_paired};
pub use single::{minimum_detectable, t_test_from};
pub use skewness::skewness;
pub(crate) use t::{Contrast, differences};
pub use t::{one_sample_t, paired_t, student_t, welch_t};
pub use tost::{
    Equivalence, Margin, equivalent_mean, equivalent_paired, equivalent_paired_ratio, equivalent_ratio,
    equivalent_welch,
};
pub use wilcoxon::{wilcoxon, wilcoxon_paired};

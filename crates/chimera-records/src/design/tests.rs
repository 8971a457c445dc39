//! Designs that are taken and designs that are refused, with what the refusal says.

use super::*;

#[test]
fn only_a_load_run_has_a_load_table_and_levels() {
    let (design, load) = Design::parse_with_load(SMALL).unwrap();
    assert!(load.is_none() && design.scenario("s@closed-4").is_none());
    let with = format!("{SMALL}\n[load]\nseed = 3\n");
    let refused = Design::parse(&with).unwrap_err().to_string();
    assert!(refused.contains("bench"), "{refused}");
    let bench = with.replace("study = \"tr121\"", "study = \"bench\"");
    let (design, load) = Design::parse_with_load(&bench).unwrap();
    assert_eq!(load.unwrap().get("seed").and_then(toml::Value::as_integer), Some(3));
    assert_eq!(design.scenario("s@closed-4").map(|s| s.id.as_str()), Some("s"));
    assert!(design.scenario("t@closed-4").is_none());
    assert!(Design::parse(&bench.replace("blocks = 3", "blocks = 3\nblokcs = 3")).is_err());
}

const SMALL: &str = r#"
schema = 1
study = "tr121"
title = "t"
seed = 1
blocks = 3
[[model]]
id = "a"
source = "a"
variant = "f32"
family = "f"
[[model]]
id = "b"
source = "bb"
variant = "f32"
family = "f"
optional = true
[[scenario]]
id = "s"
text = "Hello"
[[grid]]
id = "main"
backend = ["sim"]
model = ["a", "b"]
scenario = ["s"]
gen = [64]
[[grid]]
id = "sweep"
backend = ["sim"]
model = ["a"]
scenario = ["s"]
gen = [8, 32]
[profile.smoke]
blocks = 2
grids = ["main"]
leaves_out = "the sweep"
"#;

#[test]
fn a_profile_and_the_command_line_narrow_a_design() {
    let design = Design::parse(SMALL).unwrap();
    let all = design.resolve(&Overrides::default()).unwrap();
    assert_eq!((all.design.blocks, all.design.grid.len()), (3, 2));
    let overrides =
        Overrides { profile: Some("smoke".into()), models: vec!["bb".into()], backends: vec!["x".into()] };
    let small = design.resolve(&overrides).unwrap();
    assert_eq!(small.design.blocks, 2);
    assert_eq!(small.design.grid.len(), 1);
    assert_eq!(small.design.grid[0].model, ["b"]);
    assert_eq!(small.design.grid[0].backend, ["x"]);
    assert_eq!(small.leaves_out.as_deref(), Some("the sweep"));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let cases = [
        ("blocks = 3", "blocks = 0", "blocks is 0"),
        ("gen = [64]", "gen = []", "grid `main`: gen is empty"),
        ("gen = [64]", "genn = [64]", "grid[0]"),
        ("gen = [64]", "gen = [-1]", "grid[0].gen[0]"),
        ("schema = 1", "schema = 2", "design schema 2 is not readable"),
        ("model = [\"a\", \"b\"]", "model = [\"a\", \"c\"]", "names the model `c`"),
        ("id = \"b\"", "id = \"a\"", "defines `a` twice"),
        ("grids = [\"main\"]", "grids = [\"mian\"]", "names the grid `mian`"),
        ("seed = 1", "seed = ", "design key"),
        ("seed = 1\n", "", "seed"),
        ("text = \"Hello\"", "text = \"\"", "scenario `s`: text is empty"),
    ];
    for (from, to, expected) in cases {
        let text = SMALL.replacen(from, to, 1);
        assert_ne!(text, SMALL);
        let error = Design::parse(&text).expect_err(expected).to_string();
        assert!(error.contains(expected), "`{error}` should say `{expected}`");
    }
}

#[test]
fn unknown_names_on_the_command_line_list_what_there_is() {
    let design = Design::parse(SMALL).unwrap();
    let profile = Overrides { profile: Some("fast".into()), ..Overrides::default() };
    assert!(design.resolve(&profile).unwrap_err().to_string().contains("it has: smoke"));
    let model = Overrides { models: vec!["zz".into()], ..Overrides::default() };
    assert!(design.resolve(&model).unwrap_err().to_string().contains("it has: a, b"));
}

const QUALITY: &str = r#"
[quality]
reference = "sim"
reference_variant = "f32"
scenarios = ["s"]
min_top1 = 0.99
max_kl = 1e-4
text = "t.txt"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
chunk = 64
chunks = 20
[quality.thresholds]
F32 = 0.001
INT8 = 0.02
Q8 = 0.02
Q8_0 = 0.03
"#;

#[test]
fn a_quality_table_is_read_judged_and_narrowed() {
    let text = format!("{SMALL}chunks = 2\n{QUALITY}");
    let design = Design::parse(&text).unwrap();
    let quality = design.quality.as_ref().unwrap();
    assert_eq!((quality.positions, quality.continuation, quality.prompt_tokens()), (128, 32, 96));
    assert_eq!(quality.threshold("int8 static (min-max)"), Some(0.02));
    assert_eq!(quality.threshold("Q8_0 from Q4_1"), Some(0.03), "the longest name that fits counts");
    assert_eq!(quality.threshold("Q4_0"), None, "what the design does not name has no threshold");
    let entry = design.model("b").unwrap();
    assert_eq!(quality.reference_of(&design, entry).map(|m| m.id.as_str()), Some("b"));
    let smoke = Overrides { profile: Some("smoke".into()), ..Overrides::default() };
    let settings = design.resolve(&smoke).unwrap();
    assert_eq!(settings.design.quality.unwrap().chunks, 2);
    let cases = [
        ("scenarios = [\"s\"]", "scenarios = [\"x\"]", "names the scenario `x`"),
        (
            "reference_variant = \"f32\"",
            "reference_variant = \"F64\"",
            "no model of the design has the variant",
        ),
        ("min_top1 = 0.99", "min_top1 = 1.5", "quality.min_top1 is 1.5"),
        ("max_kl = 1e-4", "max_kl = 0.0", "quality.max_kl is 0"),
        ("chunk = 64", "chunk = 1", "predicts nothing"),
        ("chunks = 20", "chunks = 0", "quality.chunks is 0"),
        ("chunk = 64", "chunk = 64\npositions = 32", "no prompt is left"),
        ("INT8 = 0.02", "INT8 = -0.02", "quality.thresholds.INT8"),
        ("sha256 = \"00", "sha256 = \"0g", "hexadecimal"),
        ("chunk = 64", "chunk = 64\nstride = 64", "stride"),
    ];
    for (from, to, expected) in cases {
        let text = text.replacen(from, to, 1);
        let error = Design::parse(&text).expect_err(expected).to_string();
        assert!(error.contains(expected), "`{error}` should say `{expected}`");
    }
    let alone = Design::parse(&format!("{SMALL}chunks = 2\n")).unwrap_err().to_string();
    assert!(alone.contains("no [quality] table"), "{alone}");
}

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

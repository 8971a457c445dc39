//! Programs of others that tests and users may want beside this laboratory: where a present one is found, and how one is
//! made under `target/fetched`. Nothing here is needed to build or to run the laboratory itself.

pub(crate) mod libclang;
pub(crate) mod llama_cpp;
pub(crate) mod ollama;
pub(crate) mod onnxruntime;
pub(crate) mod tensorrt;
pub(crate) mod wheel;

use anyhow::Result;

/// Something that can be fetched.
struct Item {
    name: &'static str,
    about: &'static str,
    fetch: fn() -> Result<()>,
}

const ITEMS: &[Item] = &[
    Item {
        name: "llama-cpp",
        about: "what building llama.cpp takes: libclang, and cmake where there is none, by pip",
        fetch: llama_cpp::fetch,
    },
    Item {
        name: "ollama",
        about: "an Ollama server: that of OLLAMA_HOST, that on PATH, or one built by Go",
        fetch: ollama::fetch,
    },
    Item {
        name: "onnxruntime",
        about: "the library of ONNX Runtime: that of ORT_DYLIB_PATH, or the one of its wheel, by pip",
        fetch: onnxruntime::fetch,
    },
    Item {
        name: "tensorrt",
        about: "TensorRT for RTX, and libclang to build with it: those of CHIMERA_TENSORRT_DIR and LIBCLANG_PATH, or \
                their wheels, by pip",
        fetch: tensorrt::fetch,
    },
];

/// `cargo xtask fetch [name]`.
pub(crate) fn run(args: &[String]) -> Result<u8> {
    match args {
        [] => {
            print!("{}", list());
            Ok(0)
        }
        [name] if matches!(name.as_str(), "--help" | "-h") => {
            print!("{}", list());
            Ok(0)
        }
        [name] => match ITEMS.iter().find(|item| item.name == name) {
            Some(item) => (item.fetch)().map(|()| 0),
            None => {
                eprint!("xtask: nothing called `{name}` can be fetched\n\n{}", list());
                Ok(2)
            }
        },
        _ => {
            eprint!("xtask: one name at a time\n\n{}", list());
            Ok(2)
        }
    }
}

fn list() -> String {
    let mut text = String::from("cargo xtask fetch <name>\n\n");
    for item in ITEMS {
        text += &format!("  {:<12} {}\n", item.name, item.about);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_a_usage_error() {
        assert_eq!(run(&["no-such-thing".to_owned()]).expect("an answer"), 2);
        assert_eq!(run(&["ollama".to_owned(), "more".to_owned()]).expect("an answer"), 2);
    }

    #[test]
    fn the_list_names_everything() {
        for item in ITEMS {
            assert!(list().contains(item.name));
        }
    }
}

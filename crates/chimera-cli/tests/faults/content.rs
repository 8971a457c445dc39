//! Faults of what is said: lines and events, counters, and bytes that are no text.

use std::{io::Write, thread, time::Duration};

use crate::{
    adapter::{Adapter, WORDS},
    cases::{Cases, LOST, PROTOCOL},
    outcome::Want::{Either, Error, Text},
    server::{After, chunk, chunked_head},
};

impl Cases {
    pub(crate) fn lines(&mut self) {
        let adapter = self.adapter;
        self.inserts("an error in the middle", LOST, adapter.error("it broke"));
        self.inserts(
            "no memory in the middle",
            Error(&["out-of-memory"]),
            adapter.error("CUDA error: out of memory"),
        );
        self.inserts("an error that repeats the key", LOST, adapter.error(crate::adapter::KEY));
        self.inserts("an error of 100 kB", LOST, adapter.error(&"long ".repeat(20_000)));
        self.inserts(
            "an error that is an object",
            LOST,
            adapter.framed(r#"{"error":{"message":"it broke","code":5}}"#),
        );
        self.inserts("an error that is a number", LOST, adapter.framed(r#"{"error":5}"#));
        for (name, json) in [
            ("half of an object", r#"{"model":"m","#),
            ("no JSON", "no JSON at all"),
            ("a number", "5"),
            ("a text", "\"text\""),
            ("a list", "[]"),
            ("a list of objects", r#"[{"response":"x"}]"#),
            ("an empty object", "{}"),
            ("two objects in one", "{}{}"),
            ("a truth", "true"),
            ("a null", "null"),
            ("a comment", "/* x */ {}"),
            ("single quotes", "{'a': 1}"),
            ("a trailing comma", r#"{"a":1,}"#),
            ("a NaN", r#"{"eval_count":NaN}"#),
            ("an unknown object", r#"{"status":"fine"}"#),
        ] {
            self.inserts(format!("{name} instead of a token"), PROTOCOL, adapter.framed(json));
        }
        self.inserts("a hundred thousand brackets", PROTOCOL, adapter.framed(&"[".repeat(100_000)));
        self.inserts(
            "a hundred thousand objects in each other",
            PROTOCOL,
            adapter.framed(&"{\"a\":".repeat(100_000)),
        );
        for value in ["5", "true", "[]", "{}", "1e400", "\"\\x\"", "\"\\ud800\"", "\"unended"] {
            self.inserts(format!("the text {value}"), PROTOCOL, adapter.token_of(value));
        }
        self.inserts("no text", Text, adapter.token_of("null"));
        self.inserts("an empty text", Text, adapter.token(""));
        let wrong: &[&str] = match adapter {
            Adapter::OllamaGenerate => &[
                r#"{"response":"x","done":"yes"}"#,
                r#"{"response":"x","done":1}"#,
                r#"{"response":"","done_reason":5}"#,
                r#"{"message":5}"#,
            ],
            Adapter::OllamaChat => &[
                r#"{"message":5}"#,
                r#"{"message":"x"}"#,
                r#"{"message":[]}"#,
                r#"{"message":{"content":{"a":1}}}"#,
                r#"{"message":{"content":"x"},"done":"no"}"#,
            ],
            _ => &[
                r#"{"choices":5}"#,
                r#"{"choices":"x"}"#,
                r#"{"choices":{}}"#,
                r#"{"choices":[5]}"#,
                r#"{"choices":[{"index":-1,"text":"x"}]}"#,
                r#"{"choices":[{"index":1,"text":"x"}]}"#,
                r#"{"choices":[{"index":4294967296,"text":"x"}]}"#,
                r#"{"choices":[{"index":0,"text":"x"},{"index":1,"text":"y"}]}"#,
                r#"{"choices":[{"index":0,"delta":5}]}"#,
                r#"{"choices":[{"index":0,"delta":"x"}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":5}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":5}}]}"#,
                r#"{"choices":[{"index":0,"text":"","finish_reason":5}]}"#,
                r#"{"choices":[],"usage":5}"#,
                r#"{"choices":[],"usage":[]}"#,
                r#"{"choices":[],"usage":"x"}"#,
            ],
        };
        for json in wrong {
            self.inserts(format!("wrong types in {json}"), PROTOCOL, adapter.framed(json));
        }
        let known = adapter
            .framed(r#"{"choices":[],"usage":null,"response":"","message":null,"done":false,"new":[1]}"#);
        self.inserts("fields that nobody knows", Text, known);
        // Ends.
        let tokens = adapter.tokens();
        let text_after = [tokens.concat(), adapter.end()[0].clone(), adapter.token("y")].concat();
        self.answers("text after the end", PROTOCOL, &[text_after]);
        let odd = String::from_utf8(self.body()).unwrap().replace("\"stop\"", "\"whim\"");
        self.answers("an unknown reason to end", PROTOCOL, &[odd.into_bytes()]);
        let twice = String::from_utf8(adapter.end()[0].clone()).unwrap().replace("\"stop\"", "\"length\"");
        let parts = [tokens.concat(), adapter.end()[0].clone(), twice.into_bytes()].concat();
        self.answers("two ends that differ", PROTOCOL, &[parts]);
        let first = adapter.end()[0].clone();
        let same = [tokens.concat(), first, adapter.end().concat()].concat();
        self.answers("the same end twice", Text, &[same]);
        self.answers(
            "nothing but an end",
            Either(&["protocol"]),
            &[
                WORDS.iter().fold(Vec::new(), |mut all, word| {
                    all.extend(adapter.token(word));
                    all
                }),
                adapter.end().concat(),
            ],
        );
    }

    /// Counters that cannot be, one by one.
    pub(crate) fn counters(&mut self) {
        let adapter = self.adapter;
        let tokens = adapter.tokens();
        for field in adapter.counters() {
            for value in [
                "-1",
                "-9223372036854775808",
                "0",
                "3.5",
                "1e400",
                "1e18",
                "4294967295",
                "4294967296",
                "9223372036854775807",
                "18446744073709551615",
                "18446744073709551616",
                "99999999999999999999999999999999",
                "\"4\"",
                "true",
                "[]",
                "{}",
                "null",
            ] {
                let want = if value == "null" { Text } else { Either(&["protocol", "invalid-request"]) };
                let end = adapter.end_with(&format!(",\"{field}\":{value}"));
                self.answers(format!("`{field}` is {value}"), want, &[tokens.clone(), end].concat());
            }
        }
        self.answers("no counters", Text, &[tokens.clone(), adapter.end_with("")].concat());
        if !adapter.is_ollama() {
            for value in ["-1", "99999999999999999999", "4294967295", "\"1\"", "null"] {
                let fields = format!(
                    r#","prompt_tokens":5,"completion_tokens":4,"prompt_tokens_details":{{"cached_tokens":{value}}}"#
                );
                let want = if value == "null" { Text } else { Either(&["protocol"]) };
                self.answers(
                    format!("`cached_tokens` is {value}"),
                    want,
                    &[tokens.clone(), adapter.end_with(&fields)].concat(),
                );
            }
            for value in ["-1.0", "1e300", "\"1\"", "null", "-0.0"] {
                let timings = adapter.framed(&format!(
                    r#"{{"choices":[],"timings":{{"prompt_ms":{value},"predicted_ms":{value},"cache_n":{value}}}}}"#
                ));
                let want = if value.starts_with('"') { Either(&["protocol"]) } else { Text };
                self.inserts(format!("`timings` of {value}"), want, timings);
            }
        }
        let twice = adapter.end_with(&format!(",\"{0}\":4,\"{0}\":4", adapter.counters()[0]));
        self.answers("a counter told twice", Either(&["protocol"]), &[tokens, twice].concat());
    }

    pub(crate) fn text(&mut self) {
        let adapter = self.adapter;
        for (name, bytes) in [
            ("a lone byte of two", &b"\"\xc3\""[..]),
            ("a byte that is never there", b"\"\xff\""),
            ("half of a crab", b"\"\xf0\x9f\xa6\""),
            ("an overlong zero", b"\"\xc0\x80\""),
            ("a surrogate", b"\"\xed\xa0\x80\""),
        ] {
            let template = adapter.token_of("HERE");
            let at = template.windows(4).position(|four| four == b"HERE").unwrap();
            let token = [&template[..at], bytes, &template[at + 4..]].concat();
            self.inserts(format!("{name} in a text"), PROTOCOL, token);
        }
        // A line that begins with no known field is read over in server-sent events.
        let want = if adapter.is_ollama() { PROTOCOL } else { Text };
        let garbage = [&b"\xff\xfe\x00"[..], b"\n\n"].concat();
        self.inserts("bytes that are no text instead of a token", want, garbage);
        // Characters that are cut by what arrives, not by what is sent.
        let body = self.body();
        let kind = adapter.content_type();
        let cuts: Vec<usize> = (1..body.len()).filter(|at| body[*at] & 0xc0 == 0x80).collect();
        for cut in cuts {
            let parts = [body[..cut].to_vec(), body[cut..].to_vec()];
            self.answers(format!("a character in two chunks at byte {cut}"), Text, &parts);
            let head = chunked_head(kind);
            self.add(format!("a character in two reads at byte {cut}"), Text, move |stream| {
                stream.write_all(&[head.clone(), chunk(&parts[0])].concat()).ok();
                thread::sleep(Duration::from_millis(3));
                stream.write_all(&[chunk(&parts[1]), b"0\r\n\r\n".to_vec()].concat()).ok();
                After::Keep
            });
        }
        let escaped: Vec<u8> = [
            adapter.token_of(r#""Hel""#),
            adapter.token_of(r#""lo gr\u00f6\u00DFer""#),
            adapter.token_of(r#"" \ud83e\udd80""#),
            adapter.token_of(r#"" \"end\"\u000a""#),
        ]
        .concat();
        self.answers("everything escaped", Text, &[escaped, adapter.end().concat()]);
    }

    pub(crate) fn ndjson(&mut self) {
        let adapter = self.adapter;
        let body = String::from_utf8(self.body()).unwrap();
        self.answers("line ends of two bytes", Text, &[body.replace('\n', "\r\n").into_bytes()]);
        self.answers("empty lines between", Text, &[body.replace('\n', "\n\n\r\n").into_bytes()]);
        self.answers("no line end at the end", Text, &[body.trim_end().as_bytes().to_vec()]);
        self.answers("a mark of byte order", PROTOCOL, &[format!("\u{feff}{body}").into_bytes()]);
        self.answers("all objects in one line", PROTOCOL, &[body.replace('\n', "").into_bytes()]);
        self.answers("objects over several lines", PROTOCOL, &[body.replace(',', ",\n").into_bytes()]);
        let text = serde_json::to_string(&WORDS.concat()).unwrap();
        let said = if adapter.is_chat() {
            format!(r#""message":{{"role":"assistant","content":{text}}}"#)
        } else {
            format!(r#""response":{text}"#)
        };
        let line = format!(r#"{{{said},"done":true,"done_reason":"stop","eval_count":4}}"#);
        self.answers("the whole answer in one line", Text, &[line.clone().into_bytes()]);
        let json = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{line}",
            line.len()
        );
        self.says("an answer that is no stream", Text, json, After::Keep);
        let pieces =
            [adapter.tokens().concat(), adapter.framed(r#"{"done":true,"done_reason":"load"}"#)].concat();
        self.answers("a load instead of an end", PROTOCOL, &[pieces]);
        self.answers("the other interface's events", PROTOCOL, &Adapter::OpenAiChat.whole());
    }

    pub(crate) fn events(&mut self) {
        let adapter = self.adapter;
        let body = String::from_utf8(self.body()).unwrap();
        self.answers("line ends of two bytes", Text, &[body.replace('\n', "\r\n").into_bytes()]);
        self.answers("line ends of one other byte", Text, &[body.replace('\n', "\r").into_bytes()]);
        self.answers("a mark of byte order", Text, &[format!("\u{feff}{body}").into_bytes()]);
        self.answers("comments between", Text, &[body.replace("\n\n", "\n\n: ping\n\n:\n").into_bytes()]);
        self.answers(
            "names and numbers of events",
            Text,
            &[body.replace("data:", "event: message\nid: 5\nretry: 9\ndata:").into_bytes()],
        );
        self.answers("no space after the colon", Text, &[body.replace("data: ", "data:").into_bytes()]);
        self.answers(
            "data over several lines",
            Text,
            &[body.replace("{\"id\":\"c\",", "{\"id\":\"c\",\ndata: ").into_bytes()],
        );
        self.answers("no `[DONE]`", Text, &[body.replace("data: [DONE]\n\n", "").into_bytes()]);
        self.answers("no blank line at the end", Text, &[body.trim_end().as_bytes().to_vec()]);
        self.answers("`[DONE]` twice", Text, &[body.clone().into_bytes(), adapter.framed("[DONE]")]);
        self.answers("something after `[DONE]`", PROTOCOL, &[body.clone().into_bytes(), adapter.token("y")]);
        self.answers("`[DONE]` alone", PROTOCOL, &[adapter.framed("[DONE]")]);
        self.answers(
            "`[DONE]` after two tokens",
            PROTOCOL,
            &[adapter.tokens()[..2].concat(), adapter.framed("[DONE]")],
        );
        let [finish, _, done] = adapter.end().try_into().unwrap();
        self.answers("no usage", Text, &[adapter.tokens().concat(), finish, done]);
        self.inserts("an event named `error`", LOST, b"event: error\ndata: it broke\n\n".to_vec());
        self.inserts(
            "an error of another kind",
            LOST,
            adapter.framed(r#"{"object":"error","message":"it broke","code":500}"#),
        );
        self.answers("the other interface's lines", PROTOCOL, &Adapter::OllamaChat.whole());
        let whole =
            r#"{"choices":[{"index":0,"text":"x","message":{"content":"x"},"finish_reason":"stop"}]}"#;
        let json = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{whole}",
            whole.len()
        );
        self.says("an answer that is no stream", PROTOCOL, json, After::Keep);
    }
}

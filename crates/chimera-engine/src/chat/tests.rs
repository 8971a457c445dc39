//! Templates of well-known families, what Python would have made of them, and templates that mean harm.

use super::*;

fn message(role: Role, content: &str) -> Message {
    Message { role, content: content.into() }
}

fn chat() -> Vec<Message> {
    vec![
        message(Role::System, "Be brief."),
        message(Role::User, " Hi <b>\"you\"</b> "),
        message(Role::Assistant, "Ho"),
    ]
}

fn rendered(source: &str, messages: &[Message]) -> Result<String, ChatError> {
    ChatTemplate::new(source, "<s>", "</s>").and_then(|template| template.render(messages))
}

#[test]
fn chat_ml_as_published() {
    let source = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    assert_eq!(
        rendered(source, &chat()[..2]).unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <b>\"you\"</b> <|im_end|>\n<|im_start|>assistant\n"
    );
    assert!(rendered(source, &chat()[1..2]).unwrap().starts_with("<|im_start|>system\nYou are a helpful"));
}

#[test]
fn loops_namespaces_slices_and_python_methods() {
    let source = "{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'].strip() %}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- set ns = namespace(n=0) %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate: ' ~ message.role) }}
    {%- endif %}
    {%- set ns.n = ns.n + 1 %}
    {%- if not tools and message.get('content') is string %}
        {{- '[' ~ ns.n ~ ']' ~ system ~ '|' ~ message['content'] | trim ~ eos_token }}
    {%- endif %}
    {%- generation %}{%- endgeneration %}
    {%- if loop.last %}{%- break %}{%- endif %}
{%- endfor %}";
    let all = rendered(source, &chat()).unwrap();
    assert_eq!(all, "<s>[1]Be brief.|Hi <b>\"you\"</b></s>[2]Be brief.|Ho</s>");
    let refused = rendered(source, &chat()[2..]).unwrap_err();
    assert_eq!(refused, ChatError::Messages("Roles must alternate: assistant".into()));
    assert!(refused.to_string().starts_with("the model's chat template refuses"));
}

#[test]
fn json_is_pythons_and_blocks_leave_no_lines() {
    // trim_blocks and lstrip_blocks: a block on a line of its own leaves nothing of it.
    let source = "a\n  {% if true %}\nb{{ {'x': [1, 'é<'], 'y': none} | tojson }}\n  {% endif %}\n{{ [1] | tojson(indent=2) }}";
    assert_eq!(rendered(source, &[]).unwrap(), "a\nb{\"x\": [1, \"é<\"], \"y\": null}\n[\n  1\n]");
}

#[test]
fn dates_follow_c() {
    let at = |format: &str| calls::strftime(format, 1_709_211_845).unwrap();
    assert_eq!(at("%d %b %Y"), "29 Feb 2024");
    assert_eq!(at("%A, %B %-d, %I:%M:%S %p %%"), "Thursday, February 29, 01:04:05 PM %");
    assert!(calls::strftime("%Q", 0).is_err() && calls::strftime("%", 0).is_err());
    let year: u32 = rendered("{{ strftime_now('%Y') }}", &[]).unwrap().parse().unwrap();
    assert!(year >= 2024);
}

#[test]
fn what_cannot_be_read_and_what_never_ends() {
    let broken = ChatTemplate::new("{% for x in %}", "", "").unwrap_err();
    assert!(matches!(&broken, ChatError::Template(why) if why.contains("chat template:1")), "{broken}");
    let endless =
        rendered("{% for i in range(9999) %}{% for j in range(9999) %}{{ j }}{% endfor %}{% endfor %}", &[]);
    assert!(matches!(&endless, Err(ChatError::Messages(why)) if why.contains("steps")), "{endless:?}");
    let outside = rendered("{% include '/etc/hostname' %}", &[]);
    assert!(outside.is_err(), "{outside:?}");
}

#[test]
fn a_folder_says_it_in_one_of_three_ways() {
    let folder = std::env::temp_dir().join(format!("chimera-chat-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let says = || ChatTemplate::beside(&folder).unwrap().map(|t| t.render(&chat()).unwrap());
    assert_eq!(says(), None);
    write("tokenizer_config.json", r#"{"bos_token": {"content": "<B>"}, "eos_token": "<E>"}"#);
    assert_eq!(says(), None);
    write(
        "tokenizer_config.json",
        r#"{"bos_token": {"content": "<B>"}, "eos_token": "<E>", "chat_template": "{{ bos_token ~ eos_token }}"}"#,
    );
    assert_eq!(says().as_deref(), Some("<B><E>"));
    write(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]}"#,
    );
    assert_eq!(says().as_deref(), Some("yes"));
    write("chat_template.jinja", "{{ messages | length }}");
    assert_eq!(says().as_deref(), Some("3"));
    write("tokenizer_config.json", "{");
    assert!(ChatTemplate::beside(&folder).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

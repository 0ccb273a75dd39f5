//! Templates in `cloud_config`: Jinja expressions inside YAML strings.
//!
//! They are rendered string by string, in the tree that was read. Whatever a value holds, it stays in the string that
//! it was put into: quotes, line breaks and `: ` in it mean nothing to YAML, since YAML was read before. A string that
//! is one expression and nothing else takes the type of its value, so that `"{{ options.count }}"` can be a number.

use std::collections::BTreeMap;

use fleetkey_common::did_you_mean::did_you_mean;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde::Serialize;

use super::fields::Findings;
use super::node::{Node, Place, Value};
use super::options::{OptionSpec, OptionValues, bytes};
use super::problem::RoleError;

/// The names that templates know.
const NAMES: [&str; 8] = ["options", "name", "namespace", "role", "region", "arch", "package", "admin_account"];

/// What templates can use.
#[derive(Debug, Serialize)]
pub(super) struct Context<'a> {
    pub(super) options: &'a OptionValues,
    /// The full name of the box.
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) role: &'a str,
    pub(super) region: &'a str,
    pub(super) arch: &'a str,
    pub(super) package: &'a str,
    pub(super) admin_account: &'a str,
}

/// Jinja's own signs. A text keeps the newline at its end, and a line that holds only a `{% ... %}` leaves none behind.
fn syntax() -> SyntaxConfig {
    // The signs are the default ones, which go together.
    SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .unwrap_or_default()
}

fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::new();
    // What is not set is an error where it is used, never an empty text.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(syntax());
    environment.add_filter("quote", |text: String| shell_words::quote(&text).into_owned());
    environment.add_filter("bytes", |text: String| {
        let refuse = || Error::new(ErrorKind::InvalidOperation, format!("{text:?} is no size, such as 20G"));
        bytes(&text).ok_or_else(refuse)
    });
    environment
}

/// The tree with every template in it rendered.
///
/// # Errors
/// With every template that fails.
pub(super) fn render(node: &Node, context: &Context<'_>) -> Result<Node, RoleError> {
    let environment = environment();
    let context = minijinja::Value::from(Serde(context));
    let mut findings = Findings::default();
    let rendered = render_node(&environment, node, &context, &mut findings);
    findings.into_result(rendered)
}

fn render_node(
    environment: &Environment<'_>,
    node: &Node,
    context: &minijinja::Value,
    findings: &mut Findings,
) -> Node {
    let value = match &node.value {
        Value::Text(text) if is_template(text) => match evaluate(environment, text, context) {
            Ok(value) => value,
            Err(error) => {
                let (place, message) = told(node, text, &error);
                findings.error(&place, message);
                Value::Null
            }
        },
        Value::List(items) => {
            Value::List(items.iter().map(|item| render_node(environment, item, context, findings)).collect())
        }
        Value::Map(entries) => {
            let entry =
                |(key, node): &(_, Node)| (Clone::clone(key), render_node(environment, node, context, findings));
            Value::Map(entries.iter().map(entry).collect())
        }
        other => other.clone(),
    };
    Node { value, place: node.place.clone() }
}

fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|sign| text.contains(sign))
}

/// The expression, if the text is one and nothing else.
fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!["{{", "}}", "{%", "{#"].iter().any(|sign| inner.contains(sign))).then(|| inner.trim_matches('-').trim())
}

fn evaluate(environment: &Environment<'_>, text: &str, context: &minijinja::Value) -> Result<Value, Error> {
    let Some(expression) = sole_expression(text) else {
        return environment.render_str(text, context.clone()).map(Value::Text);
    };
    let value = environment.compile_expression(expression)?.eval(context.clone())?;
    match value.kind() {
        ValueKind::Bool => Ok(Value::Bool(value.is_true())),
        ValueKind::Number => Ok(value.as_i64().map_or_else(|| Value::Text(value.to_string()), Value::Int)),
        ValueKind::String => Ok(Value::Text(value.to_string())),
        // An undefined value is told here in the same words as inside a text.
        _ => environment.render_str(text, context.clone()).map(Value::Text),
    }
}

/// What is wrong with a template, and at which line of the file.
fn told(node: &Node, text: &str, error: &Error) -> (Place, String) {
    // A block's place is that of its first line, like a quoted text's.
    let within = error.line().map_or(0, |line| line.saturating_sub(1)) as u64;
    let place = match within {
        0 => node.place.clone(),
        _ if !text.trim_end().contains('\n') => node.place.clone(),
        _ => Place { line: node.place.line + within, column: 1, ..node.place.clone() },
    };
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let hint = match error.kind() {
        ErrorKind::UndefinedError => "; if it may be left out, ask `is defined` first",
        ErrorKind::SyntaxError => "; braces that are no template stand between {% raw %} and {% endraw %}",
        _ => "",
    };
    (place, format!("template: {what}{hint}"))
}

/// Tells templates that cannot be read, and names in them that there will never be.
pub(super) fn check(node: &Node, options: &BTreeMap<String, OptionSpec>, findings: &mut Findings) {
    check_node(&environment(), node, options, findings);
}

fn check_node(
    environment: &Environment<'_>,
    node: &Node,
    options: &BTreeMap<String, OptionSpec>,
    findings: &mut Findings,
) {
    match &node.value {
        Value::Text(text) if is_template(text) => match environment.template_from_str(text) {
            Err(error) => {
                let (place, message) = told(node, text, &error);
                findings.error(&place, message);
            }
            Ok(template) => {
                let mut used: Vec<String> = template.undeclared_variables(true).into_iter().collect();
                used.sort();
                let faults = used.iter().filter_map(|name| unknown(name, options));
                faults.for_each(|fault| findings.error(&node.place, fault));
            }
        },
        Value::List(items) => items.iter().for_each(|item| check_node(environment, item, options, findings)),
        Value::Map(entries) => entries.iter().for_each(|(_, node)| check_node(environment, node, options, findings)),
        _ => {}
    }
}

/// What is wrong with a name such as `options.size`, if anything.
fn unknown(used: &str, options: &BTreeMap<String, OptionSpec>) -> Option<String> {
    let (name, field) = used.split_once('.').map_or((used, None), |(name, field)| (name, Some(field)));
    // Functions of the template language are told as variables too.
    if ["range", "dict", "debug"].contains(&name) {
        return None;
    }
    if !NAMES.contains(&name) {
        let hint = did_you_mean(name, &NAMES);
        return Some(format!("template: there is no {name:?}{hint}; there are {}", NAMES.join(", ")));
    }
    let field = field.filter(|_| name == "options")?.split('.').next()?;
    let known: Vec<&str> = options.keys().map(String::as_str).collect();
    if known.contains(&field) {
        return None;
    }
    let there =
        if known.is_empty() { "the role has none".to_owned() } else { format!("there are {}", known.join(", ")) };
    Some(format!("template: there is no option {field:?}{}; {there}", did_you_mean(field, &known)))
}

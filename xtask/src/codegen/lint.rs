//! Rules for protobuf files that the compiler does not know.
//!
//! Every message, field, oneof, enum, enum value, service and call has a comment before it; fields and oneofs are in
//! snake_case, types in CamelCase, enum values in UPPER_SNAKE_CASE behind their enum's name; the value 0 of an enum ends
//! with `_UNSPECIFIED`.

use std::collections::HashSet;

use anyhow::{Result, bail};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

// Field numbers of descriptor.proto, of which the paths of source locations are made.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUM: i32 = 4;
const MESSAGE_ONEOF: i32 = 8;
const ENUM_VALUE: i32 = 2;
const SERVICE_METHOD: i32 = 2;

/// Checks all files and reports all that is wrong at once.
pub(super) fn check(descriptors: &FileDescriptorSet) -> Result<()> {
    let complaints: Vec<String> =
        descriptors.file.iter().flat_map(|file| FileLint::new(file).run(file)).collect();
    if !complaints.is_empty() {
        bail!("protobuf files break the rules:\n{}", complaints.join("\n"));
    }
    Ok(())
}

struct FileLint {
    file: String,
    commented: HashSet<Vec<i32>>,
    complaints: Vec<String>,
}

impl FileLint {
    fn new(file: &FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let commented = locations
            .filter(|location| !location.leading_comments().trim().is_empty())
            .map(|location| location.path.clone())
            .collect();
        FileLint { file: file.name().to_owned(), commented, complaints: Vec::new() }
    }

    fn run(mut self, file: &FileDescriptorProto) -> Vec<String> {
        for (index, message) in numbered(&file.message_type) {
            self.message(&[FILE_MESSAGE, index], message);
        }
        for (index, enumeration) in numbered(&file.enum_type) {
            self.enumeration(&[FILE_ENUM, index], enumeration);
        }
        for (index, service) in numbered(&file.service) {
            self.service(&[FILE_SERVICE, index], service);
        }
        self.complaints
    }

    fn message(&mut self, path: &[i32], message: &DescriptorProto) {
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            return; // Made by the compiler for a map field.
        }
        self.name(path, message.name(), is_camel(message.name()), "CamelCase");
        for (index, field) in numbered(&message.field) {
            self.name(&below(path, MESSAGE_FIELD, index), field.name(), is_snake(field.name()), "snake_case");
        }
        for (index, oneof) in numbered(&message.oneof_decl) {
            // An `optional` field is the only member of a oneof that the compiler made, named with a leading underscore.
            if !oneof.name().starts_with('_') {
                self.name(
                    &below(path, MESSAGE_ONEOF, index),
                    oneof.name(),
                    is_snake(oneof.name()),
                    "snake_case",
                );
            }
        }
        for (index, nested) in numbered(&message.nested_type) {
            self.message(&below(path, MESSAGE_NESTED, index), nested);
        }
        for (index, enumeration) in numbered(&message.enum_type) {
            self.enumeration(&below(path, MESSAGE_ENUM, index), enumeration);
        }
    }

    fn enumeration(&mut self, path: &[i32], enumeration: &EnumDescriptorProto) {
        self.name(path, enumeration.name(), is_camel(enumeration.name()), "CamelCase");
        let prefix = format!("{}_", upper_snake(enumeration.name()));
        for (index, value) in numbered(&enumeration.value) {
            let fits = value.name().starts_with(&prefix) && is_snake(&value.name().to_ascii_lowercase());
            self.name(
                &below(path, ENUM_VALUE, index),
                value.name(),
                fits,
                &format!("UPPER_SNAKE_CASE after {prefix}"),
            );
            if value.number() == 0 && !value.name().ends_with("_UNSPECIFIED") {
                self.complain(value.name(), "is the value 0 and does not end with _UNSPECIFIED");
            }
        }
    }

    fn service(&mut self, path: &[i32], service: &ServiceDescriptorProto) {
        self.name(path, service.name(), is_camel(service.name()), "CamelCase");
        for (index, method) in numbered(&service.method) {
            self.name(
                &below(path, SERVICE_METHOD, index),
                method.name(),
                is_camel(method.name()),
                "CamelCase",
            );
        }
    }

    fn name(&mut self, path: &[i32], name: &str, fits: bool, form: &str) {
        if !fits {
            self.complain(name, &format!("is not {form}"));
        }
        if !self.commented.contains(path) {
            self.complain(name, "has no comment before it");
        }
    }

    fn complain(&mut self, name: &str, what: &str) {
        self.complaints.push(format!("{}: {name} {what}", self.file));
    }
}

fn numbered<T>(items: &[T]) -> impl Iterator<Item = (i32, &T)> {
    (0..).zip(items)
}

fn below(path: &[i32], field: i32, index: i32) -> Vec<i32> {
    [path, &[field, index]].concat()
}

fn is_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.contains("__")
        && !name.ends_with('_')
}

fn is_camel(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn upper_snake(camel: &str) -> String {
    let mut text = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(source: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.proto");
        std::fs::write(&path, format!("syntax = \"proto3\";\npackage t;\n{source}")).unwrap();
        let set = super::super::compile(dir.path(), &[path]).unwrap();
        check(&set).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_tidy_file_passes() {
        let tidy = "// M.\nmessage M {\n  // A.\n  optional string a_1 = 1;\n  // P.\n  map<string, string> p = 2;\n  // O.\n  oneof o {\n    // B.\n    bool b = 3;\n  }\n}\n\
             // K.\nenum MyKind {\n  // None.\n  MY_KIND_UNSPECIFIED = 0;\n}\n// S.\nservice S {\n  // Do.\n  rpc Do(M) returns (M);\n}\n";
        assert_eq!(complaints(tidy), "");
    }

    #[test]
    fn each_rule_has_a_file_that_breaks_it() {
        let cases = [
            ("message M {}\n", "M has no comment"),
            ("// M.\nmessage M {\n  bool a = 1;\n}\n", "a has no comment"),
            ("// M.\nmessage M {\n  // A.\n  bool camelCase = 1;\n}\n", "camelCase is not snake_case"),
            ("// M.\nmessage M {\n  oneof o {\n    // B.\n    bool b = 1;\n  }\n}\n", "o has no comment"),
            ("// M.\nmessage m {}\n", "m is not CamelCase"),
            ("// K.\nenum K {\n  // Z.\n  K_ZERO = 0;\n}\n", "does not end with _UNSPECIFIED"),
            ("// K.\nenum K {\n  K_UNSPECIFIED = 0;\n}\n", "K_UNSPECIFIED has no comment"),
            ("// K.\nenum K {\n  // U.\n  UNSPECIFIED = 0;\n}\n", "UPPER_SNAKE_CASE after K_"),
            ("// M.\nmessage M {}\n// S.\nservice S {\n  rpc Do(M) returns (M);\n}\n", "Do has no comment"),
        ];
        for (source, complaint) in cases {
            assert!(complaints(source).contains(complaint), "{source}: {}", complaints(source));
        }
    }
}

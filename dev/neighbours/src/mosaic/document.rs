//! A GraphQL request before it is executed: what it asks for, and variables that were left out.
//!
//! The library takes a variable without a value for one that is null. The specification wants such an argument or field
//! treated as if it had not been written: <https://spec.graphql.org/October2021/#sec-Coercing-Variable-Values>.

use std::collections::BTreeSet;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Variables};
use async_graphql_value::Value;

/// The operation that is to be executed; nothing where the name fits none, or several fit.
fn chosen<'a>(
    document: &'a mut ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a mut OperationDefinition> {
    match &mut document.operations {
        DocumentOperations::Single(operation) => Some(&mut operation.node),
        DocumentOperations::Multiple(operations) => {
            let only = operations.len() == 1;
            let mut found = operations.iter_mut();
            let fits = |known: &Name| name.map_or(only, |name| known.as_str() == name);
            let operation = found.find(|(known, _)| fits(known));
            operation.map(|(_, operation)| &mut operation.node)
        }
    }
}

/// The root fields that a request asks for, in order.
pub(super) fn root_fields(document: &mut ExecutableDocument, name: Option<&str>) -> Vec<String> {
    let mut fields = vec![];
    let Some(operation) = chosen(document, name) else {
        return fields;
    };
    let items = operation.selection_set.node.items.clone();
    for item in items {
        match item.node {
            Selection::Field(field) => fields.push(field.node.name.node.to_string()),
            Selection::FragmentSpread(spread) => {
                let fragment = document.fragments.get(&spread.node.fragment_name.node);
                let set = fragment.map(|fragment| &fragment.node.selection_set.node);
                fields.extend(set.into_iter().flat_map(plain_fields));
            }
            Selection::InlineFragment(fragment) => {
                fields.extend(plain_fields(&fragment.node.selection_set.node));
            }
        }
    }
    fields
}

fn plain_fields(set: &SelectionSet) -> Vec<String> {
    let names = set.items.iter().filter_map(|item| match &item.node {
        Selection::Field(field) => Some(field.node.name.node.to_string()),
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => None,
    });
    names.collect()
}

/// Takes out every variable that has no value and need not have one; tells which is missing that must have one.
pub(super) fn settle_variables(
    document: &mut ExecutableDocument,
    name: Option<&str>,
    variables: &Variables,
) -> Result<(), String> {
    let Some(operation) = chosen(document, name) else {
        return Ok(());
    };
    let mut absent = BTreeSet::new();
    for definition in &operation.variable_definitions {
        let definition = &definition.node;
        let variable = &definition.name.node;
        if variables.contains_key(variable) || definition.default_value.is_some() {
            continue;
        }
        if !definition.var_type.node.nullable {
            let kind = &definition.var_type.node;
            return Err(format!(
                "Variable \"${variable}\" of required type \"{kind}\" was not provided."
            ));
        }
        absent.insert(variable.clone());
    }
    if absent.is_empty() {
        return Ok(());
    }
    let defined = &mut operation.variable_definitions;
    defined.retain(|definition| !absent.contains(&definition.node.name.node));
    drop_absent(&mut operation.selection_set.node, &absent);
    for fragment in document.fragments.values_mut() {
        drop_absent(&mut fragment.node.selection_set.node, &absent);
    }
    Ok(())
}

fn drop_absent(set: &mut SelectionSet, absent: &BTreeSet<Name>) {
    for item in &mut set.items {
        match &mut item.node {
            Selection::Field(field) => {
                drop_arguments(&mut field.node.arguments, absent);
                drop_absent(&mut field.node.selection_set.node, absent);
            }
            Selection::InlineFragment(fragment) => {
                drop_absent(&mut fragment.node.selection_set.node, absent);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

type Argument = (Positioned<Name>, Positioned<Value>);

fn drop_arguments(arguments: &mut Vec<Argument>, absent: &BTreeSet<Name>) {
    arguments.retain(|(_, value)| !is_absent(&value.node, absent));
    for (_, value) in arguments {
        drop_fields(&mut value.node, absent);
    }
}

fn is_absent(value: &Value, absent: &BTreeSet<Name>) -> bool {
    matches!(value, Value::Variable(name) if absent.contains(name))
}

fn drop_fields(value: &mut Value, absent: &BTreeSet<Name>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !is_absent(value, absent));
            for field in fields.values_mut() {
                drop_fields(field, absent);
            }
        }
        // In a list it is null, as the specification has it.
        Value::List(items) => {
            for item in items {
                if is_absent(item, absent) {
                    *item = Value::Null;
                }
                drop_fields(item, absent);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::Variables;
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::{root_fields, settle_variables};

    #[test]
    fn root_fields_are_found_in_fragments_too() {
        let text = "query A { a ...F ... on Query { c } } query B { d } fragment F on Query { b }";
        let mut document = parse_query(text).expect("parses");
        assert_eq!(root_fields(&mut document, Some("A")), ["a", "b", "c"]);
        assert_eq!(root_fields(&mut document, Some("B")), ["d"]);
        assert!(root_fields(&mut document, None).is_empty());
    }

    #[test]
    fn what_has_no_value_is_as_if_it_had_not_been_written() {
        let text = "query ($a: String, $b: String!, $c: String = \"x\") { f(x: {a: $a, b: $b, c: $c}, y: $a) }";
        let mut document = parse_query(text).expect("parses");
        let given = Variables::from_json(json!({"b": "1"}));
        settle_variables(&mut document, None, &given).expect("is complete");
        let text = format!("{document:?}");
        assert!(!text.contains("Variable(Name(\"a\"))"), "{text}");
        assert!(text.contains("Variable(Name(\"b\"))"), "{text}");
        let missing = settle_variables(&mut document, None, &Variables::default());
        assert_eq!(
            missing.expect_err("is required"),
            "Variable \"$b\" of required type \"String!\" was not provided."
        );
    }
}

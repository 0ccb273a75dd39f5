//! How a box that was made is shown.

use anyhow::Context as _;
use fleetkey_common::aws_names::Namespace;
use fleetkey_common::names::AccountName;
use serde::Serialize;

use crate::launch::course::{Made, Manner};
use crate::launch::request::Request;
use crate::listing;
use crate::printer::Printer;
use crate::role::Role;

/// What is printed with `--output json` once a box is made.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    row: listing::Row<'a>,
    account: Option<&'a str>,
    login: &'a str,
    resumed: bool,
    image_taken: Option<&'a str>,
}

/// Shows it, and how to log in.
pub(super) fn print(
    made: &Made,
    request: &Request,
    namespace: &Namespace,
    role: &Role,
    manner: Manner,
    printer: Printer,
) -> anyhow::Result<()> {
    let found = &made.instance;
    let login = format!("fleetkey ssh --region {} {} -I {}", request.region, request.name, found.id);
    let row = listing::Row::new(None, found, namespace);
    let table = listing::table(std::slice::from_ref(&row));
    let shown = Shown {
        row,
        account: role.admin_account.as_ref().map(AccountName::as_str),
        login: &login,
        resumed: made.resumed,
        image_taken: made.image.as_deref(),
    };
    printer.data(&table, &shown).context("writing to standard output")?;
    if let Some(image) = shown.image_taken {
        printer.note(&format!("image {image} was taken of it; fleetkey recreate {} makes a box of it", request.name));
    }
    if !manner.terminate {
        printer.note(&format!("log in: {login}"));
    }
    Ok(())
}

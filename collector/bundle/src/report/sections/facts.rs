//! What the host is: system, kernel, clock, instance, accounts, addresses.

use super::{fact, nothing, row, time};
use crate::report::{
    html::{Done, Html, second},
    scope::{Bounded, Ref, Scope, end_table, table},
};
use cleanroom_analysis::records::{CloudInit, HostFacts, Interface, User, lenient::Text};

/// Accounts and addresses at most.
const ROWS: usize = 500;

/// Writes them.
pub fn write(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut any = false;
    scope.each("host", |at, host: HostFacts| {
        any = true;
        host_facts(scope, html, at, &host)
    })?;
    if !any {
        nothing(html, "No host facts were captured.")?;
    }
    scope.each("cloud-init", |at, facts: CloudInit| cloud_init(scope, html, at, &facts))?;
    interfaces(scope, html)?;
    users(scope, html)
}

fn host_facts(scope: &Scope<'_>, html: &mut Html<'_>, at: Ref, host: &HostFacts) -> Done {
    html.raw("<dl>")?;
    fact(html, "Host name", &host.hostname)?;
    if let Some(os) = &host.os_release.0 {
        fact(html, "System", &os.pretty_name)?;
    }
    fact(html, "Kernel", &host.kernel_release)?;
    fact(html, "Kernel build", &host.kernel_version)?;
    fact(html, "Architecture", &host.architecture)?;
    fact(html, "Kernel command line", &host.command_line)?;
    if !matches!(host.kernel_tainted.bytes(), b"" | b"0") {
        fact(html, "Kernel tainted", &host.kernel_tainted)?;
    }
    fact(html, "Lockdown", &host.lockdown)?;
    if !host.boot_time.is_empty() {
        row(html, "Booted", |html| {
            time(html, &host.boot_time)?;
            html.raw(", boot id ")?;
            html.code(host.boot_id.bytes(), 80)
        })?;
    }
    if let Some(clock) = &host.clock.0 {
        row(html, "Host's clock", |html| {
            time(html, &clock.utc)?;
            html.raw(" when it was asked; the collector opened the session at ")?;
            html.esc(&second(scope.session.info.opened.utc))
        })?;
    }
    fact(html, "Time zone", &host.timezone)?;
    fact(html, "Machine id", &host.machine_id)?;
    if let Some(dmi) = &host.dmi.0 {
        fact(html, "Vendor", &dmi.sys_vendor)?;
        fact(html, "Product", &dmi.product_name)?;
    }
    match &host.instance.0 {
        Some(instance) => {
            fact(html, "Instance", &instance.instance_id)?;
            fact(html, "Account", &instance.account_id)?;
            fact(html, "Region", &instance.region)?;
            fact(html, "Zone", &instance.availability_zone)?;
            fact(html, "Image", &instance.image_id)?;
            fact(html, "Instance type", &instance.instance_type)?;
            fact(html, "Private address", &instance.private_ip)?;
        }
        None => fact(html, "Instance metadata", &host.imds_state)?,
    }
    row(html, "Evidence", |html| scope.reference(html, at))?;
    html.raw("</dl>\n")
}

fn cloud_init(scope: &Scope<'_>, html: &mut Html<'_>, at: Ref, facts: &CloudInit) -> Done {
    if facts.instance_id.is_empty() && facts.boot_finished.is_empty() {
        return Ok(());
    }
    html.raw("<h4>cloud-init</h4><dl>")?;
    fact(html, "Instance id", &facts.instance_id)?;
    if !facts.previous_instance_ids.items.is_empty() {
        row(html, "Earlier instance ids", |html| list(html, &facts.previous_instance_ids.items))?;
    }
    fact(html, "Data source", &facts.datasource)?;
    fact(html, "Boot finished", &facts.boot_finished)?;
    if !facts.errors.items.is_empty() {
        row(html, "Errors", |html| list(html, &facts.errors.items))?;
    }
    row(html, "Evidence", |html| scope.reference(html, at))?;
    html.raw("</dl>\n")
}

fn list(html: &mut Html<'_>, texts: &[Text]) -> Done {
    for (number, text) in texts.iter().take(50).enumerate() {
        if number > 0 {
            html.raw("<br>")?;
        }
        html.bytes(text.bytes(), 300)?;
    }
    Ok(())
}

fn interfaces(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut found = Bounded::new(ROWS);
    let bad = scope.each("interfaces", |at, one: Interface| {
        found.add(|| (at, one));
        Ok(())
    })?;
    if found.rows.is_empty() {
        return Ok(());
    }
    html.raw("<h4>Interfaces</h4>")?;
    table(html, &["Name", "State", "Hardware address", "Addresses", "Evidence"])?;
    for (at, one) in &found.rows {
        html.raw("<tr>")?;
        for text in [&one.name, &one.state, &one.mac] {
            html.td(|html| html.bytes(text.bytes(), 60))?;
        }
        html.td(|html| list(html, &one.addresses.items))?;
        scope.reference_cell(html, *at)?;
        html.raw("</tr>\n")?;
    }
    end_table(html)?;
    scope.rest(html, "interfaces", found.more, bad)
}

fn users(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut found = Bounded::new(ROWS);
    let mut total = 0u64;
    let bad = scope.each("users", |at, user: User| {
        total += 1;
        let shell = user.shell.bytes();
        let no_login = shell.ends_with(b"nologin") || shell.ends_with(b"/false");
        if user.uid.0 == Some(0) || !no_login {
            found.add(|| (at, user));
        }
        Ok(())
    })?;
    if found.rows.is_empty() {
        return Ok(());
    }
    html.raw("<h4>Accounts that may log in or are root</h4>")?;
    table(html, &["Name", "Uid", "Gid", "Home", "Shell", "Password", "Evidence"])?;
    for (at, user) in &found.rows {
        html.raw("<tr>")?;
        html.td(|html| html.bytes(user.name.bytes(), 60))?;
        for id in [user.uid, user.gid] {
            html.within("<td class=\"k\">", "</td>", |html| match id.0 {
                Some(id) => html.esc(&id.to_string()),
                None => Ok(()),
            })?;
        }
        html.td(|html| html.bytes(user.home.bytes(), 120))?;
        html.td(|html| html.bytes(user.shell.bytes(), 120))?;
        html.td(|html| match user.locked.0 {
            Some(true) => html.raw("locked"),
            Some(false) => html.mark("medium", "open"),
            None => html.raw("not known"),
        })?;
        scope.reference_cell(html, *at)?;
        html.raw("</tr>\n")?;
    }
    end_table(html)?;
    html.raw("<p class=\"note\">")?;
    html.number(total)?;
    html.raw(" accounts in all.</p>\n")?;
    scope.rest(html, "users", found.more, bad)
}

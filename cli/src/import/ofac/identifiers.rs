//! Identifiers and contacts in OFAC's remarks: `Passport N0001 (Syria) expires 12 May 2019`, `Phone Number 0113…`.

use comity_core::subject::{Contact, CountryCode, Identifier, Slug, SubjectKind};

use super::countries;

/// What a label of the source stands for.
struct Label {
    text: &'static str,
    kind: &'static str,
    /// What tells it from others of its kind; empty where the kind says it all.
    scheme: &'static str,
    /// Who issues it, where the label says so.
    country: &'static str,
}

const fn label(text: &'static str, kind: &'static str, scheme: &'static str, country: &'static str) -> Label {
    Label { text, kind, scheme, country }
}

/// Every label that OFAC uses more than once. Others that end in `No.`, `Number` or `#` are taken as `other_id`.
#[rustfmt::skip]
const LABELS: &[Label] = &[
    label("Passport", "passport", "", ""),
    label("Diplomatic Passport", "passport", "diplomatic", ""),
    label("Stateless Person Passport", "passport", "stateless person", ""),
    label("British National Overseas Passport", "passport", "British National (Overseas)", "GB"),
    label("Travel Document Number", "travel_document", "", ""),
    label("Refugee ID Card", "travel_document", "Refugee ID Card", ""),
    label("VisaNumberID", "visa", "", ""),

    label("National ID No.", "national_id", "", ""),
    label("National Foreign ID Number", "national_id", "National Foreign ID", ""),
    label("Identification Number", "national_id", "Identification Number", ""),
    label("Personal ID Card", "national_id", "Personal ID Card", ""),
    label("Stateless Person ID Card", "national_id", "Stateless Person ID Card", ""),
    label("Citizen's Card Number", "national_id", "Citizen's Card", ""),
    label("Cedula No.", "national_id", "Cedula", ""),
    label("Cedula de Residencia", "residence_permit", "Cedula de Residencia", ""),
    label("D.N.I.", "national_id", "DNI", ""),
    label("N.I.E.", "national_id", "NIE", ""),
    label("C.U.I.", "national_id", "CUI", ""),
    label("C.U.R.P.", "national_id", "CURP", ""),
    label("C.U.R.P. #", "national_id", "CURP", ""),
    label("C.U.I.P.", "national_id", "CUIP", ""),
    label("I.F.E.", "national_id", "IFE", ""),
    label("LE Number", "national_id", "LE", ""),
    label("Numero de Identidad", "national_id", "Numero de Identidad", ""),
    label("CNP (Personal Numerical Code)", "national_id", "CNP", ""),
    label("Kenyan ID No.", "national_id", "", "KE"),
    label("Bosnian Personal ID No.", "national_id", "", "BA"),
    label("Moroccan Personal ID No.", "national_id", "", "MA"),
    label("Turkish Identification Number", "national_id", "", "TR"),
    label("Turkish Identificiation Number", "national_id", "", "TR"),
    label("UAE Identification", "national_id", "", "AE"),
    label("Tazkira National ID Card", "national_id", "Tazkira", ""),
    label("SSN", "social_security_number", "", ""),
    label("Chinese Commercial Code", "name_code", "Chinese Commercial Code", ""),
    label("Electoral Registry No.", "electoral_id", "Electoral Registry", ""),
    label("Credencial electoral", "electoral_id", "Credencial electoral", ""),
    label("Cartilla de Servicio Militar Nacional", "military_id", "Cartilla de Servicio Militar Nacional", ""),
    label("Military Registration Number", "military_id", "", ""),
    label("Driver's License No.", "driving_licence", "", ""),
    label("Birth Certificate Number", "birth_certificate", "", ""),
    label("Residency Number", "residence_permit", "", ""),
    label("Immigration No.", "residence_permit", "Immigration No.", ""),
    label("Tarjeta Profesional", "licence", "Tarjeta Profesional", ""),
    label("Seafarer's Identification Document", "seafarer_id", "", ""),

    label("Tax ID No.", "tax_id", "", ""),
    label("US FEIN", "tax_id", "FEIN", "US"),
    label("NIT #", "tax_id", "NIT", ""),
    label("RUC #", "tax_id", "RUC", ""),
    label("RIF #", "tax_id", "RIF", ""),
    label("RFC", "tax_id", "RFC", ""),
    label("R.F.C.", "tax_id", "RFC", ""),
    label("R.F.C. #", "tax_id", "RFC", ""),
    label("RTN", "tax_id", "RTN", ""),
    label("RSIN", "tax_id", "RSIN", ""),
    label("C.U.I.T.", "tax_id", "CUIT", ""),
    label("C.I.F.", "tax_id", "CIF", ""),
    label("Fiscal Code", "tax_id", "Fiscal Code", ""),
    label("Italian Fiscal Code", "tax_id", "Fiscal Code", "IT"),
    label("Numero Unico de Identificacao Tributaria (NUIT)", "tax_id", "NUIT", ""),
    label("Romanian Tax Registration", "tax_id", "", "RO"),
    label("Tax ID Number", "tax_id", "", ""),
    label("V.A.T. Number", "vat_number", "", ""),

    label("Registration ID", "registration_number", "", ""),
    label("Registration Number", "registration_number", "Registration Number", ""),
    label("Company Number", "registration_number", "Company Number", ""),
    label("Company ID", "registration_number", "Company ID", ""),
    label("UK Company Number", "registration_number", "Company Number", "GB"),
    label("Enterprise Number", "registration_number", "Enterprise Number", ""),
    label("Branch Unit Number", "registration_number", "Branch Unit Number", ""),
    label("Legal Entity Number", "registration_number", "Legal Entity Number", ""),
    label("File Number", "registration_number", "File Number", ""),
    label("Business Number", "registration_number", "Business Number", ""),
    label("Business Registration Number", "registration_number", "Business Registration", ""),
    label("Business Registration Document #", "registration_number", "Business Registration Document", ""),
    label("Commercial Registry Number", "registration_number", "Commercial Registry", ""),
    label("C.R. No.", "registration_number", "Commercial Registry", ""),
    label("Romanian C.R.", "registration_number", "Commercial Registry", "RO"),
    label("Public Registration Number", "registration_number", "Public Registration", ""),
    label("Certificate of Incorporation Number", "registration_number", "Certificate of Incorporation", ""),
    label("Chamber of Commerce Number", "registration_number", "Chamber of Commerce", ""),
    label("Dubai Chamber of Commerce Membership No.", "registration_number", "Dubai Chamber of Commerce", "AE"),
    label("Istanbul Chamber of Comm. No.", "registration_number", "Istanbul Chamber of Commerce", "TR"),
    label("Folio Mercantil No.", "registration_number", "Folio Mercantil", ""),
    label("Folio Mercantil", "registration_number", "Folio Mercantil", ""),
    label("Matricula Mercantil No", "registration_number", "Matricula Mercantil", ""),
    label("Matricula Mercantil No.", "registration_number", "Matricula Mercantil", ""),
    label("Government Gazette Number", "registration_number", "Government Gazette", ""),
    label("Registered Charity No.", "registration_number", "Registered Charity", ""),
    label("United Social Credit Code Certificate (USCCC)", "registration_number", "Unified Social Credit Code", "CN"),
    label("Unified Social Credit Code (USCC)", "registration_number", "Unified Social Credit Code", "CN"),
    label("Central Registration System Number", "registration_number", "Central Registration System", ""),
    label("Economic Register Number (CBLS)", "registration_number", "Economic Register", ""),
    label("Trade License No.", "licence", "Trade License", ""),
    label("License", "licence", "", ""),
    label("Afghan Money Service Provider License Number", "licence", "Money Service Provider", "AF"),
    label("D-U-N-S Number", "duns_number", "", ""),
    label("SWIFT/BIC", "swift_bic", "", ""),
    label("BIK (RU)", "bank_code", "BIK", "RU"),
    label("MICEX Code", "security_code", "MICEX", ""),
    label("ISIN", "isin", "", ""),
    label("Equity Ticker", "security_code", "Equity Ticker", ""),
    label("LEI", "lei", "", ""),

    label("Vessel Registration Identification IMO", "imo_number", "", ""),
    label("Vessel Registration Identification", "registration_number", "Vessel Registration Identification", ""),
    label("Identification Number IMO", IMO_OF_COMPANY, "", ""),
    label("Company Number IMO", IMO_OF_COMPANY, "", ""),
    label("MMSI", "mmsi", "", ""),
    label("Other Vessel Call Sign", "call_sign", "other", ""),
    label("Former Vessel Call Sign", "call_sign", "former", ""),
    label("Aircraft Tail Number", "tail_number", "", ""),
    label("Previous Aircraft Tail Number", "tail_number", "previous", ""),
    label("Aircraft Manufacturer's Serial Number (MSN)", "serial_number", "MSN", ""),
    label("Aircraft Construction Number (also called L/N or S/N or F/N)", "construction_number", "", ""),
    label("Aircraft Mode S Transponder Code", "mode_s_code", "", ""),
    label("Aircraft Serial Identification", "serial_number", "", ""),
    label("Serial No.", "serial_number", "", ""),
];

const IMO_OF_COMPANY: &str = "imo_company_number";

const CONTACTS: &[(&str, &str)] = &[
    ("Email Address", "email"),
    ("Email", "email"),
    ("Website", "website"),
    ("Phone Number", "phone"),
    ("Phone No.", "phone"),
    ("Phone", "phone"),
    ("Telephone No.", "phone"),
    ("Telephone", "phone"),
    ("Fax No.", "fax"),
    ("Fax", "fax"),
    ("Telex", "telex"),
];

const CURRENCY_ADDRESS: &str = "Digital Currency Address - ";

/// An identifier, and what the fields of one cannot say.
pub(super) struct Found {
    pub(super) identifier: Identifier,
    /// The source gives a date of issue or expiry too.
    pub(super) has_validity: bool,
    /// A last word in brackets that is no country that we know, left in the value.
    pub(super) unknown_country: Option<String>,
}

/// Reads a remark that is an identifier.
pub(super) fn identifier(text: &str, subject: SubjectKind) -> Option<Found> {
    if let Some((currency, address)) = text.strip_prefix(CURRENCY_ADDRESS).and_then(|rest| rest.split_once(' ')) {
        let found = bare("digital_currency_address", address.trim(), Some(currency.to_owned()), None)?;
        return Some(Found { identifier: found, has_validity: false, unknown_country: None });
    }
    let known = LABELS.iter().filter_map(|label| Some((label, after(text, label.text)?)));
    let (kind, scheme, country, rest) = match known.max_by_key(|(label, _)| label.text.len()) {
        Some((label, rest)) => {
            // The number of a ship and the number of its company have one form and two registers.
            let is_ship = subject == SubjectKind::Vessel && label.kind == IMO_OF_COMPANY;
            let kind = if is_ship { "imo_number" } else { label.kind };
            let scheme = (!label.scheme.is_empty()).then(|| label.scheme.to_owned());
            (kind, scheme, label.country.parse().ok(), rest)
        }
        None => {
            let (label, rest) = unlisted(text)?;
            ("other_id", Some(label.to_owned()), None, rest)
        }
    };
    let (value, has_validity) = strip_validity(rest);
    let (value, stated) = strip_country(value);
    // A sentence that happens to begin like an identifier has no digits, or is long.
    if !value.bytes().any(|b| b.is_ascii_digit()) && kind != "swift_bic" && kind != "security_code" {
        return None;
    }
    let (country, unknown_country) = match stated {
        Some(Ok(stated)) => (Some(stated), None),
        Some(Err(unknown)) => (country, Some(unknown)),
        None => (country, None),
    };
    Some(Found { identifier: bare(kind, value, scheme, country)?, has_validity, unknown_country })
}

/// Reads a remark that is a way to reach the subject.
pub(super) fn contact(text: &str) -> Option<Contact> {
    if text.contains('@') && !text.contains(' ') {
        return Some(Contact { kind: "email".parse().ok()?, value: text.to_owned() });
    }
    let found = CONTACTS.iter().filter_map(|(label, kind)| Some((label, kind, after(text, label)?)));
    let (_, kind, value) = found.max_by_key(|(label, ..)| label.len())?;
    let plausible = match *kind {
        "email" => value.contains('@'),
        "website" => value.contains('.') && !value.contains(' '),
        _ => value.bytes().any(|b| b.is_ascii_digit()),
    };
    plausible.then_some(())?;
    Some(Contact { kind: kind.parse().ok()?, value: value.to_owned() })
}

fn bare(kind: &str, value: &str, scheme: Option<String>, country: Option<CountryCode>) -> Option<Identifier> {
    let kind: Slug = kind.parse().ok()?;
    (!value.is_empty()).then(|| Identifier { kind, value: value.to_owned(), country, scheme })
}

/// What follows a label, where the text begins with it as whole words.
fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let head = text.get(..label.len())?;
    let rest = text.get(label.len()..)?;
    if !head.eq_ignore_ascii_case(label) || !rest.starts_with([' ', ':']) {
        return None;
    }
    Some(rest.trim_start_matches([' ', ':']).trim_end())
}

/// `Pilot License Number PL0001`: a short label that ends as labels do, and then one value.
fn unlisted(text: &str) -> Option<(&str, &str)> {
    const LABEL_MAX_BYTES: usize = 60;
    const VALUE_MAX_BYTES: usize = 80;
    let (at, end) = [" No. ", " Number ", " # "]
        .into_iter()
        .filter_map(|end| Some((text.find(end)?, end)))
        .min_by_key(|(at, _)| *at)?;
    let label = text.get(..at + end.len())?.trim_end();
    let value = text.get(at + end.len()..)?;
    let one_label = label.len() <= LABEL_MAX_BYTES
        && label.starts_with(|c: char| c.is_ascii_uppercase())
        && !label.get(..at)?.contains([':', ';', ',', '(']);
    let one_value = value.len() <= VALUE_MAX_BYTES && !value.contains(". ");
    let plain = !value.split('(').next()?.contains(',');
    (one_label && one_value && plain).then_some((label, value))
}

/// `N0001 (Syria) issued 1 May 2009 expires 12 May 2019`: the value without the dates, and whether there were any.
fn strip_validity(text: &str) -> (&str, bool) {
    let ends = [" issued ", " expires ", " expired "].into_iter().filter_map(|word| text.find(word));
    match ends.min().and_then(|at| text.get(..at)) {
        Some(value) => (value.trim_end(), true),
        None => (text.trim_end(), false),
    }
}

/// `N0001 (Syria)`: the value, and the country or the brackets' text where it is none.
fn strip_country(text: &str) -> (&str, Option<Result<CountryCode, String>>) {
    let Some((value, name)) = text.strip_suffix(')').and_then(|text| text.rsplit_once('(')) else {
        return (text, None);
    };
    match countries::code(name) {
        Some(code) if !value.trim().is_empty() => (value.trim_end(), Some(Ok(code))),
        _ => (text, Some(Err(name.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let Some(found) = identifier(text, SubjectKind::Organization) else { return "none".into() };
        let Identifier { kind, value, country, scheme } = found.identifier;
        let country = country.map_or("--", CountryCode::as_str);
        let validity = if found.has_validity { " dated" } else { "" };
        let unknown = if found.unknown_country.is_some() { " unknown" } else { "" };
        format!("{kind}|{value}|{country}|{}{validity}{unknown}", scheme.unwrap_or_default())
    }

    #[test]
    fn reads_what_ofac_writes() {
        for (text, expected) in [
            ("Passport N006478882", "passport|N006478882|--|"),
            ("Passport RL 2101602 (Lebanon)", "passport|RL 2101602|LB|"),
            ("Passport 381310014 (Korea, North) expires 12 Jul 2016", "passport|381310014|KP| dated"),
            ("Diplomatic Passport 008827 (Iran) issued 1999", "passport|008827|IR|diplomatic dated"),
            ("National ID No. 13/Ta Ta Na (Naing)019077 (Burma)", "national_id|13/Ta Ta Na (Naing)019077|MM|"),
            ("R.F.C. GAHJ-521206 (Mexico)", "tax_id|GAHJ-521206|MX|RFC"),
            ("C.U.R.P. # HESU620101 (Mexico)", "national_id|HESU620101|MX|CURP"),
            ("File Number 7136946 (Delaware) (United States)", "registration_number|7136946 (Delaware)|US|File Number"),
            (
                "Matricula Mercantil No 57622 (Uraba)",
                "registration_number|57622 (Uraba)|--|Matricula Mercantil unknown",
            ),
            ("BIK (RU) 044525607", "bank_code|044525607|RU|BIK"),
            ("SWIFT/BIC HAVIGBXL", "swift_bic|HAVIGBXL|--|"),
            ("Vessel Registration Identification IMO 9187655", "imo_number|9187655|--|"),
            ("Company Number IMO 5466371", "imo_company_number|5466371|--|"),
            ("Digital Currency Address - XBT 1EfMVk", "digital_currency_address|1EfMVk|--|XBT"),
            ("Pilot License Number PL00825 (Barbados)", "other_id|PL00825|BB|Pilot License Number"),
            (
                "Public Registration Number 467323, Doc. 694710 (Panama)",
                "registration_number|467323, Doc. 694710|PA|Public Registration",
            ),
            ("Aircraft Manufacturer's Serial Number (MSN) 3165", "serial_number|3165|--|MSN"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn leaves_what_is_no_identifier() {
        for text in [
            "",
            "Passport",
            "Passport officer",
            "Passports 1",
            "License holder",
            "Interpol: Red Notice. File No. 2009/3599. March 24, 2009.",
            "Suspension of deportation No. T04338017, expired 08 May 2013, issued by an office",
            "Deputy No. of the party",
            "é",
        ] {
            assert_eq!(read(text), "none", "{text}");
        }
    }

    #[test]
    fn a_ship_has_the_number_of_a_ship() {
        let found = identifier("Identification Number IMO 9187655", SubjectKind::Vessel).unwrap();
        assert_eq!(found.identifier.kind.as_str(), "imo_number");
    }

    #[test]
    fn reads_contacts() {
        for (text, expected) in [
            ("Phone Number 982188526300", "phone|982188526300"),
            ("PHONE 850 2 381 8221", "phone|850 2 381 8221"),
            ("Telephone: (98)(9121115315)", "phone|(98)(9121115315)"),
            ("Fax No. 263-4-487261", "fax|263-4-487261"),
            ("Email Address info@example.org", "email|info@example.org"),
            ("Website www.example.org", "website|www.example.org"),
            ("info@example.org", "email|info@example.org"),
        ] {
            let contact = contact(text).unwrap();
            assert_eq!(format!("{}|{}", contact.kind, contact.value), expected);
        }
        assert!(contact("Phone company director").is_none());
        assert!(contact("Website of the ministry.").is_none());
    }
}

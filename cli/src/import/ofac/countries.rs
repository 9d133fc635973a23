//! Countries by the names that OFAC gives them.

use comity_core::subject::CountryCode;

/// What OFAC writes, and the code of ISO 3166-1. Regions (`Region: Crimea`, `West Bank`) and states that are no more
/// (`Netherlands Antilles`) have none: to give them one would say more than the source does.
#[rustfmt::skip]
const NAMES: &[(&str, &str)] = &[
    ("Afghanistan", "AF"), ("Aland Islands", "AX"), ("Albania", "AL"), ("Algeria", "DZ"),
    ("American Samoa", "AS"), ("Andorra", "AD"), ("Angola", "AO"), ("Anguilla", "AI"), ("Antarctica", "AQ"),
    ("Antigua and Barbuda", "AG"), ("Argentina", "AR"), ("Armenia", "AM"), ("Aruba", "AW"),
    ("Australia", "AU"), ("Austria", "AT"), ("Azerbaijan", "AZ"), ("Bahamas", "BS"), ("Bahamas, The", "BS"),
    ("Bahrain", "BH"), ("Bangladesh", "BD"), ("Barbados", "BB"), ("Belarus", "BY"), ("Belgium", "BE"),
    ("Belize", "BZ"), ("Benin", "BJ"), ("Bermuda", "BM"), ("Bhutan", "BT"), ("Bolivia", "BO"),
    ("Bosnia and Herzegovina", "BA"), ("Bosnia-Herzegovina", "BA"), ("Botswana", "BW"), ("Brazil", "BR"),
    ("British Virgin Islands", "VG"), ("Brunei", "BN"), ("Bulgaria", "BG"), ("Burkina Faso", "BF"),
    ("Burma", "MM"), ("Burundi", "BI"), ("Cabo Verde", "CV"), ("Cabo Verde.  Previously Cape Verde.", "CV"),
    ("Cambodia", "KH"), ("Cameroon", "CM"),
    ("Canada", "CA"), ("Cape Verde", "CV"), ("Cayman Islands", "KY"), ("Central African Republic", "CF"),
    ("Chad", "TD"), ("Chile", "CL"), ("China", "CN"), ("Christmas Island", "CX"),
    ("Cocos (Keeling) Islands", "CC"), ("Colombia", "CO"), ("Comoros", "KM"),
    ("Congo, Democratic Republic of the", "CD"), ("Congo, Republic of the", "CG"), ("Cook Islands", "CK"),
    ("Costa Rica", "CR"), ("Cote d Ivoire", "CI"), ("Cote d'Ivoire", "CI"), ("Croatia", "HR"), ("Cuba", "CU"),
    ("Curacao", "CW"), ("Cyprus", "CY"), ("Czech Republic", "CZ"), ("Czechia", "CZ"),
    ("Democratic People's Republic of Korea", "KP"), ("Democratic Republic of the Congo", "CD"),
    ("Denmark", "DK"), ("Djibouti", "DJ"), ("Dominica", "DM"), ("Dominican Republic", "DO"),
    ("East Timor", "TL"), ("Ecuador", "EC"), ("Egypt", "EG"), ("El Salvador", "SV"),
    ("Equatorial Guinea", "GQ"), ("Eritrea", "ER"), ("Estonia", "EE"), ("Eswatini", "SZ"), ("Ethiopia", "ET"),
    ("Falkland Islands", "FK"), ("Faroe Islands", "FO"), ("Fiji", "FJ"), ("Finland", "FI"), ("France", "FR"),
    ("French Guiana", "GF"), ("French Polynesia", "PF"), ("Gabon", "GA"), ("Gambia", "GM"),
    ("Gambia, The", "GM"), ("Georgia", "GE"), ("Germany", "DE"), ("Ghana", "GH"), ("Gibraltar", "GI"),
    ("Greece", "GR"), ("Greenland", "GL"), ("Grenada", "GD"), ("Guadeloupe", "GP"), ("Guam", "GU"),
    ("Guatemala", "GT"), ("Guernsey", "GG"), ("Guinea", "GN"), ("Guinea-Bissau", "GW"), ("Guyana", "GY"),
    ("Haiti", "HT"), ("Holy See", "VA"), ("Honduras", "HN"), ("Hong Kong", "HK"), ("Hungary", "HU"),
    ("Iceland", "IS"), ("India", "IN"), ("Indonesia", "ID"), ("Iran", "IR"), ("Iraq", "IQ"), ("Ireland", "IE"),
    ("Isle of Man", "IM"), ("Israel", "IL"), ("Italy", "IT"), ("Ivory Coast", "CI"), ("Jamaica", "JM"),
    ("Japan", "JP"), ("Jersey", "JE"), ("Jordan", "JO"), ("Kazakhstan", "KZ"), ("Kenya", "KE"),
    ("Kiribati", "KI"), ("Korea, North", "KP"), ("Korea, South", "KR"), ("Kosovo", "XK"), ("Kuwait", "KW"),
    ("Kyrgyzstan", "KG"), ("Laos", "LA"), ("Latvia", "LV"), ("Lebanon", "LB"), ("Lesotho", "LS"),
    ("Liberia", "LR"), ("Libya", "LY"), ("Liechtenstein", "LI"), ("Lithuania", "LT"), ("Luxembourg", "LU"),
    ("Macau", "MO"), ("Macedonia", "MK"), ("Macedonia, The Former Yugoslav Republic of", "MK"),
    ("Madagascar", "MG"), ("Malawi", "MW"), ("Malaysia", "MY"), ("Maldives", "MV"), ("Mali", "ML"),
    ("Malta", "MT"), ("Man, Isle of", "IM"), ("Marshall Islands", "MH"), ("Martinique", "MQ"),
    ("Mauritania", "MR"), ("Mauritius", "MU"), ("Mayotte", "YT"), ("Mexico", "MX"),
    ("Micronesia, Federated States of", "FM"), ("Moldova", "MD"), ("Monaco", "MC"), ("Mongolia", "MN"),
    ("Montenegro", "ME"), ("Montserrat", "MS"), ("Morocco", "MA"), ("Mozambique", "MZ"), ("Myanmar", "MM"),
    ("Namibia", "NA"), ("Nauru", "NR"), ("Nepal", "NP"), ("Netherlands", "NL"), ("New Caledonia", "NC"),
    ("New Zealand", "NZ"), ("Nicaragua", "NI"), ("Niger", "NE"), ("Nigeria", "NG"), ("Niue", "NU"),
    ("Norfolk Island", "NF"), ("North Korea", "KP"), ("North Macedonia", "MK"),
    ("North Macedonia, The Republic of", "MK"), ("Northern Mariana Islands", "MP"), ("Norway", "NO"),
    ("Oman", "OM"), ("Pakistan", "PK"), ("Palau", "PW"), ("Palestinian", "PS"),
    ("Palestinian Authority", "PS"), ("Panama", "PA"), ("Papua New Guinea", "PG"), ("Paraguay", "PY"),
    ("Peru", "PE"), ("Philippines", "PH"), ("Pitcairn Islands", "PN"), ("Poland", "PL"), ("Portugal", "PT"),
    ("Puerto Rico", "PR"), ("Qatar", "QA"), ("Republic of the Congo", "CG"), ("Reunion", "RE"),
    ("Romania", "RO"), ("Russia", "RU"), ("Russian Federation", "RU"), ("Rwanda", "RW"),
    ("Saint Helena", "SH"), ("Saint Kitts and Nevis", "KN"), ("Saint Lucia", "LC"), ("Saint Martin", "MF"),
    ("Saint Pierre and Miquelon", "PM"), ("Saint Vincent and the Grenadines", "VC"), ("Samoa", "WS"),
    ("San Marino", "SM"), ("Sao Tome and Principe", "ST"), ("Saudi Arabia", "SA"), ("Senegal", "SN"),
    ("Serbia", "RS"), ("Seychelles", "SC"), ("Sierra Leone", "SL"), ("Singapore", "SG"),
    ("Sint Maarten", "SX"), ("Slovakia", "SK"), ("Slovenia", "SI"), ("Solomon Islands", "SB"),
    ("Somalia", "SO"), ("South Africa", "ZA"), ("South Korea", "KR"), ("South Sudan", "SS"), ("Spain", "ES"),
    ("Sri Lanka", "LK"), ("Sudan", "SD"), ("Suriname", "SR"), ("Svalbard", "SJ"), ("Swaziland", "SZ"),
    ("Sweden", "SE"), ("Switzerland", "CH"), ("Syria", "SY"), ("Taiwan", "TW"), ("Tajikistan", "TJ"),
    ("Tanzania", "TZ"), ("Thailand", "TH"), ("The Bahamas", "BS"), ("The Gambia", "GM"), ("Timor-Leste", "TL"),
    ("Togo", "TG"), ("Tokelau", "TK"), ("Tonga", "TO"), ("Trinidad and Tobago", "TT"), ("Tunisia", "TN"),
    ("Turkey", "TR"), ("Turkiye", "TR"), ("Turkmenistan", "TM"), ("Turks and Caicos Islands", "TC"),
    ("Tuvalu", "TV"), ("U.K.", "GB"), ("U.S.A.", "US"), ("Uganda", "UG"), ("Ukraine", "UA"),
    ("United Arab Emirates", "AE"), ("United Kingdom", "GB"), ("United States", "US"), ("Uruguay", "UY"),
    ("Uzbekistan", "UZ"), ("Vanuatu", "VU"), ("Vatican City", "VA"), ("Venezuela", "VE"), ("Vietnam", "VN"),
    ("Virgin Islands, British", "VG"), ("Virgin Islands, U.S.", "VI"), ("Wallis and Futuna", "WF"),
    ("Western Sahara", "EH"), ("Yemen", "YE"), ("Zambia", "ZM"), ("Zimbabwe", "ZW"),
];

/// The country of that name, or nothing.
pub(super) fn code(name: &str) -> Option<CountryCode> {
    let name = name.trim();
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).and_then(|(_, code)| code.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_code() {
        for (name, expected) in NAMES {
            assert_eq!(code(name).map(CountryCode::as_str), Some(*expected), "{name}");
        }
    }

    #[test]
    fn regions_are_no_countries() {
        for text in ["", "Region: Crimea", "West Bank", "undetermined", "Netherlands Antilles", "SY"] {
            assert_eq!(code(text), None, "{text}");
        }
        assert_eq!(code(" syria "), "SY".parse().ok());
    }
}

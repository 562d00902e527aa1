//! Why a server refuses its node, and the fix. None of these is a death: the server lives, and so may its clients.

use tasuki_schemas::id::NodeId;

/// The sentence for a refusal with the server's error number, 0 if none was given.
pub(crate) fn refusing(primary: &NodeId, code: u16, text: &str) -> String {
    let fix = fix(code).map(|fix| format!(": {fix}")).unwrap_or_default();
    format!("{primary} is alive but refuses its node ({text}); no failover{fix}.")
}

/// What operators can do about it, by the error numbers of both flavours.
const fn fix(code: u16) -> Option<&'static str> {
    Some(match code {
        // Nobody listens.
        0 => "it is being stopped, or its socket file was deleted",
        // ER_CON_COUNT_ERROR
        1040 => "raise max_connections or end idle sessions; a privileged account for the node gets the reserved one",
        // ER_OUT_OF_RESOURCES, ER_CANT_CREATE_THREAD
        1041 | 1135 => "the host is out of memory or threads; end sessions, raise the service's limits",
        // ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
        1203 | 1226 => "the node's account has a limit of connections or questions; lift it with ALTER USER",
        // ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR
        1044 | 1045 | 1698 => "the account or password in node.toml is not the server's; correct either",
        // ER_HOST_IS_BLOCKED
        1129 => "too many logins were interrupted; FLUSH HOSTS there, and raise max_connect_errors",
        // ER_HOST_NOT_PRIVILEGED
        1130 => "the account does not exist for the host that the node comes from; create it, or use the socket",
        // ER_NOT_SUPPORTED_AUTH_MODE, ER_PLUGIN_IS_NOT_LOADED
        1251 | 1524 => {
            "the account's authentication plugin is not loaded or not spoken; change the plugin with ALTER USER"
        }
        // ER_MUST_CHANGE_PASSWORD, ER_MUST_CHANGE_PASSWORD_LOGIN
        1820 | 1862 => "the password of the node's account expired; set it anew, and let it never expire",
        // ER_ACCOUNT_HAS_BEEN_LOCKED of MySQL and of MariaDB
        3118 | 4151 => "the node's account is locked; unlock it with ALTER USER … ACCOUNT UNLOCK",
        // ER_SECURE_TRANSPORT_REQUIRED
        3159 => "the server demands TLS; let the node use the socket",
        // ER_TABLEACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR
        1142 | 1227 => "the node's account lacks a privilege; grant what the message names",
        // ER_PARSE_ERROR, ER_UNKNOWN_SYSTEM_VARIABLE
        1064 | 1193 => "the server does not know a statement or setting; is its version supported, semi-sync loaded?",
        // ER_SERVER_SHUTDOWN
        1053 => "it is being stopped",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_that_is_known_has_a_fix_and_none_is_a_death() {
        let primary = "db1".parse().unwrap();
        let known = [
            0, 1040, 1041, 1044, 1045, 1053, 1064, 1129, 1130, 1135, 1142, 1193, 1203, 1226, 1227, 1251, 1524, 1698,
            1820, 1862, 3118, 3159, 4151,
        ];
        for code in known {
            let sentence = refusing(&primary, code, "the server's words");
            assert!(sentence.contains("(the server's words); no failover: "), "{code}: {sentence}");
        }
        let unknown = refusing(&primary, 4711, "something new");
        assert_eq!(unknown, "db1 is alive but refuses its node (something new); no failover.");
    }
}

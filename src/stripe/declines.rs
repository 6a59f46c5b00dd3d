//! Why a payment failed, in words for the member: Stripe's codes become a few of ours, each with what to do.
//!
//! Stripe's own texts are never shown: they speak to developers, and of some cards they say what only the bank may
//! tell. <https://docs.stripe.com/declines/codes>, <https://docs.stripe.com/error-codes>

use super::objects::PaymentError;

/// Why a payment failed, and what the member can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decline {
    /// Stable, for programs.
    pub code: &'static str,
    /// A sentence that says why.
    pub message: &'static str,
    /// A sentence that says what to do.
    pub advice: &'static str,
}

/// What the bank says of a card that was lost, stolen or used by somebody else looks like any other refusal: whoever
/// holds it must not learn that it is known.
const DECLINED: Decline = Decline {
    code: "declined",
    message: "The bank declined the payment and gave no reason.",
    advice: "Pay with another card or account, or ask your bank.",
};
const INSUFFICIENT_FUNDS: Decline = Decline {
    code: "insufficient_funds",
    message: "There was not enough money in the account.",
    advice: "Top up the account and pay again, or pay with another card or account.",
};
const EXPIRED: Decline = Decline {
    code: "card_expired",
    message: "The card has expired.",
    advice: "Enter your new card.",
};
const WRONG_DETAILS: Decline = Decline {
    code: "wrong_details",
    message: "The details of the card are not right.",
    advice: "Enter number, expiry date, security code and postal code once more.",
};
const AUTHENTICATION: Decline = Decline {
    code: "authentication_required",
    message: "The bank wants you to confirm the payment yourself.",
    advice: "Open the payment page and confirm the payment with your bank.",
};
const NOT_AUTHENTICATED: Decline = Decline {
    code: "authentication_failed",
    message: "The payment was not confirmed with the bank.",
    advice: "Pay again and confirm the payment with your bank, or pay with another card.",
};
const LIMIT: Decline = Decline {
    code: "limit_exceeded",
    message: "The payment exceeds a limit of the card.",
    advice: "Ask your bank to raise the limit, or pay with another card.",
};
const UNSUPPORTED: Decline = Decline {
    code: "not_supported",
    message: "The card can't be used for payments of this kind or in this currency.",
    advice: "Pay with another card or account.",
};
const PASSING: Decline = Decline {
    code: "try_again",
    message: "The bank could not process the payment at that moment.",
    advice: "Pay again later; if it fails once more, pay with another card or account.",
};
const DUPLICATE: Decline = Decline {
    code: "duplicate",
    message: "A payment of the same amount was made just before.",
    advice: "Look whether you have paid already before you pay again.",
};
const ACCOUNT: Decline = Decline {
    code: "account_unusable",
    message: "The bank account can't be debited: it is closed, blocked or not the one that was entered.",
    advice: "Enter the account once more, or pay with another one or with a card.",
};
const REVOKED: Decline = Decline {
    code: "mandate_revoked",
    message: "The bank no longer allows these debits: the permission was withdrawn.",
    advice: "Pay with another card or account, or give your bank the permission again.",
};
const NO_METHOD: Decline = Decline {
    code: "no_payment_method",
    message: "There is no card or account from which the payment could be taken.",
    advice: "Add a card or an account.",
};
const TEST_CARD: Decline = Decline {
    code: "test_card",
    message: "The card is not a real one, or it was used where only test cards are.",
    advice: "Pay with another card.",
};
const UNKNOWN: Decline = Decline {
    code: "failed",
    message: "The payment failed.",
    advice: "Pay again; if it fails once more, pay with another card or account.",
};

/// The cause that Stripe's codes stand for: the decline code says more than the error's or failure's own `code`. What
/// nobody knows yet is a payment that failed.
pub fn explain(decline_code: Option<&str>, code: Option<&str>) -> Decline {
    let known = decline_code
        .and_then(decline)
        .or_else(|| code.and_then(decline));
    known.unwrap_or(UNKNOWN)
}

impl PaymentError {
    /// Why the payment failed. Where the bank gives no reason, the network's advice may.
    pub fn decline(&self) -> Decline {
        let explained = explain(self.decline_code.as_deref(), self.code.as_deref());
        let says_nothing = matches!(
            self.decline_code.as_deref(),
            None | Some("generic_decline" | "do_not_honor")
        );
        let advised = self.advice_code.as_deref().filter(|_| says_nothing);
        match advised {
            Some("confirm_card_data") => WRONG_DETAILS,
            Some("try_again_later") => PASSING,
            _ => explained,
        }
    }
}

fn decline(code: &str) -> Option<Decline> {
    Some(match code {
        "insufficient_funds" => INSUFFICIENT_FUNDS,
        "expired_card" => EXPIRED,
        "incorrect_number"
        | "invalid_number"
        | "incorrect_cvc"
        | "invalid_cvc"
        | "incorrect_zip"
        | "incorrect_address"
        | "invalid_expiry_month"
        | "invalid_expiry_year"
        | "incorrect_pin"
        | "invalid_pin" => WRONG_DETAILS,
        "authentication_required"
        | "mobile_device_authentication_required"
        | "offline_pin_required"
        | "online_or_offline_pin_required"
        | "invoice_payment_intent_requires_action"
        | "subscription_payment_intent_requires_action" => AUTHENTICATION,
        "authentication_not_handled" | "payment_intent_authentication_failure" => NOT_AUTHENTICATED,
        "card_velocity_exceeded"
        | "withdrawal_count_limit_exceeded"
        | "pin_try_exceeded"
        | "card_decline_rate_limit_exceeded"
        | "charge_exceeds_source_limit"
        | "charge_exceeds_transaction_limit"
        | "charge_exceeds_weekly_limit"
        | "invalid_amount" => LIMIT,
        "card_not_supported"
        | "currency_not_supported"
        | "transaction_not_allowed"
        | "service_not_allowed"
        | "payment_method_not_available"
        | "payment_method_currency_mismatch" => UNSUPPORTED,
        "approve_with_id"
        | "issuer_not_available"
        | "processing_error"
        | "reenter_transaction"
        | "try_again_later"
        | "payment_method_provider_timeout" => PASSING,
        "duplicate_transaction" => DUPLICATE,
        "account_closed"
        | "account_number_invalid"
        | "bank_account_restricted"
        | "bank_account_unusable"
        | "bank_ownership_changed"
        | "invalid_account"
        | "invalid_account_number"
        | "incorrect_account_holder_name"
        | "no_account"
        | "recipient_deceased" => ACCOUNT,
        "debit_not_authorized"
        | "debit_authorization_not_match"
        | "payment_intent_mandate_invalid"
        | "revocation_of_all_authorizations"
        | "revocation_of_authorization"
        | "stop_payment_order" => REVOKED,
        "payment_method_unactivated" | "resource_missing" => NO_METHOD,
        "testmode_decline" | "live_mode_test_card" | "test_mode_live_card" => TEST_CARD,
        "call_issuer"
        | "card_declined"
        | "do_not_honor"
        | "do_not_try_again"
        | "fraudulent"
        | "generic_decline"
        | "lost_card"
        | "merchant_blacklist"
        | "new_account_information_available"
        | "no_action_taken"
        | "not_permitted"
        | "payment_method_customer_decline"
        | "payment_method_provider_decline"
        | "pickup_card"
        | "restricted_card"
        | "security_violation"
        | "stolen_card" => DECLINED,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decline_code_says_more_than_the_code_and_an_unknown_one_less() {
        let code = |decline, code| explain(decline, code).code;
        let declined = Some("card_declined");
        assert_eq!(
            code(Some("insufficient_funds"), declined),
            "insufficient_funds"
        );
        assert_eq!(code(Some("of_next_year"), declined), "declined");
        assert_eq!(code(None, Some("expired_card")), "card_expired");
        assert_eq!(code(Some("of_next_year"), Some("too")), "failed");
        assert_eq!(code(None, None), "failed");
    }

    #[test]
    fn a_stolen_card_is_told_like_any_that_the_bank_declines() {
        let plain = explain(Some("generic_decline"), Some("card_declined"));
        for decline in [
            "lost_card",
            "stolen_card",
            "fraudulent",
            "pickup_card",
            "restricted_card",
            "security_violation",
            "merchant_blacklist",
        ] {
            assert_eq!(
                explain(Some(decline), Some("card_declined")),
                plain,
                "{decline}"
            );
        }
    }

    #[test]
    fn the_networks_advice_speaks_where_the_bank_does_not() {
        let code_of = |decline: &str, advice: &str| {
            let error = PaymentError {
                code: Some("card_declined".into()),
                decline_code: Some(decline.into()),
                advice_code: Some(advice.into()),
            };
            error.decline().code
        };
        assert_eq!(code_of("generic_decline", "try_again_later"), "try_again");
        assert_eq!(
            code_of("do_not_honor", "confirm_card_data"),
            "wrong_details"
        );
        assert_eq!(code_of("generic_decline", "do_not_try_again"), "declined");
        assert_eq!(
            code_of("insufficient_funds", "try_again_later"),
            "insufficient_funds"
        );
        assert_eq!(code_of("stolen_card", "try_again_later"), "declined");
    }
}

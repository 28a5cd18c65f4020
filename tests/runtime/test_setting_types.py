"""Tests of L{confd.runtime.setting_types}."""

from twisted.trial.unittest import SynchronousTestCase

from confd.runtime import setting_types


class ParserTests(SynchronousTestCase):
    """The kinds of values."""

    def test_whole_numbers_are_digits_within_bounds(self):
        parse = setting_types.whole(-5, 99999)
        for text, value in (("0", 0), ("-5", -5), ("99999", 99999), ("007", 7)):
            self.assertEqual(parse(text), value)
        for text in (
            "", "-", "--5", "+5", "5.0", "1e3", " 5", "5 ", "5\n", "٥", "0x5", "1_000", "-6", "100000", "9" * 5000,
            "0" * 19 + "1" + "9" * 30,
        ):  # fmt: skip
            error = self.assertRaises(ValueError, parse, text)
            self.assertEqual(str(error), "must be a whole number from -5 to 99999")

    def test_flags_accept_common_words_for_true_and_false(self):
        for text in ("true", "TRUE", "1", "yes"):
            self.assertIs(setting_types.flag(text), True)
        for text in ("false", "False", "0", "no", ""):
            self.assertIs(setting_types.flag(text), False)
        for text in ("2", "on ", "truth", "nein"):
            self.assertRaises(ValueError, setting_types.flag, text)

    def test_networks_must_have_a_valid_first_address(self):
        self.assertEqual([str(each) for each in setting_types.networks("10.0.0.0/8, ::1,")], ["10.0.0.0/8", "::1/128"])
        self.assertEqual(setting_types.networks(""), ())
        for text in ("proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8;::1"):
            self.assertIn("10.0.0.0/8", str(self.assertRaises(ValueError, setting_types.networks, text)))

    def test_a_choice_ignores_case(self):
        parse = setting_types.choice("debug", "info")
        self.assertEqual(parse("INFO"), "info")
        self.assertIn("debug, info", str(self.assertRaises(ValueError, parse, "loud")))

    def test_urls_are_http_or_https(self):
        self.assertEqual(
            setting_types.urls("http://a:8080/, https://[::1]:1/x/,http://b"),
            ("http://a:8080", "https://[::1]:1/x", "http://b"),
        )
        for text in (
            "", ",", "localhost:8080", "ftp://a", "http://", "http:///x", "http://a:99999", "http://a:b", "http://a b",
            "http://a\nb", "http://[::1", "http://a?x=1", "http://a#x", "//a", "http://:80",
        ):  # fmt: skip
            with self.subTest(text=text):
                self.assertRaises(ValueError, setting_types.urls, text)
        self.assertEqual(setting_types.url("http://a/"), "http://a")
        self.assertRaises(ValueError, setting_types.url, "http://a,http://b")

    def test_credentials_in_urls_are_refused_and_not_repeated(self):
        for text in ("http://me:hunter2@a", "http://me:hun,ter2@a", "http://me:hunter2@", "me:hunter2@a"):
            error = self.assertRaises(ValueError, setting_types.urls, text)
            self.assertNotRegex(str(error), "hun|ter2")
            self.assertIn("credentials", str(error))

    def test_namespaces_follow_the_rule_of_the_model(self):
        self.assertEqual(setting_types.namespace("eu-1"), "eu-1")
        self.assertRaises(ValueError, setting_types.namespace, "EU")

    def test_user_names_contain_no_colon(self):
        self.assertEqual(setting_types.user_name("agent"), "agent")
        for text in ("a:b", "", "a\n"):
            self.assertRaises(ValueError, setting_types.user_name, text)

    def test_urls_of_nats_have_schemes_of_their_own(self):
        self.assertEqual(setting_types.nats_urls("nats://a:4222,tls://b"), ("nats://a:4222", "tls://b"))
        for text in ("", "http://a", "nats://", "nats://me:hunter2@a", "a:4222"):
            self.assertRaises(ValueError, setting_types.nats_urls, text)

    def test_an_address_is_a_host_and_a_port(self):
        for text, value in (("localhost:6379", ("localhost", 6379)), ("[::1]:1", ("::1", 1))):
            self.assertEqual(setting_types.address(text), value)
        for text in ("", "localhost", ":6379", "localhost:", "localhost:0", "localhost:65536", "localhost:http"):
            self.assertRaises(ValueError, setting_types.address, text)

    def test_words_contain_no_spaces(self):
        self.assertEqual(setting_types.word("config:global"), "config:global")
        for text in ("", "a b", "a\n"):
            self.assertRaises(ValueError, setting_types.word, text)

    def test_subjects_of_nats_contain_no_wildcards(self):
        self.assertEqual(setting_types.subject("config.worker.update"), "config.worker.update")
        for text in ("", ".", "a..b", "a.", "a.*", "a.>", "a b", "a\tb"):
            self.assertRaises(ValueError, setting_types.subject, text)

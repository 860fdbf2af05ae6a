package tasks

// account is what a vendor's tasks need on a worker.
type account struct {
	vendor string // as settings and metrics name it
	has    func(Vendors) bool
}

var (
	danaconnectOTP = account{"danaconnect", func(v Vendors) bool { return v.DANAConnectOTP != nil }}
	annaUsers      = account{"anna", func(v Vendors) bool { return v.AnnA != nil }}
)

// catalogue is every task type there is, one line each: vendor, what it does,
// an example payload, the handler.
var catalogue = []entry{
	define(danaconnectOTP, "make a one-time passcode and have it sent",
		OTPSend{IDConversation: 824541, Values: Values{{"COD1_EMAIL", "ana@example.com"}, {"COD1_NOMBRE", "Ana"}}, OTPType: 1, Length: 6, SecondsExpiration: new(300)},
		func(v Vendors) handler[OTPSend, OTPSent] { return sendOTP(v.DANAConnectOTP) }),
	define(danaconnectOTP, "check the passcode that a person typed",
		OTPVerify{IDRequest: "251", OTP: "004217"},
		func(v Vendors) handler[OTPVerify, OTPVerdict] { return verifyOTP(v.DANAConnectOTP) }),
	define(annaUsers, "close a user's access",
		UserInactivate{UserID: "u-1001"},
		func(v Vendors) handler[UserInactivate, None] { return inactivateUser(v.AnnA) }),
	define(annaUsers, "mint a login for an active user",
		UserHash{UserID: "u-1001", StartService: "support"},
		func(v Vendors) handler[UserHash, UserAccess] { return hashUser(v.AnnA) }),
	define(annaUsers, "count the open requests that wait for a user's answer",
		MessengerAlerts{MessengerUser: MessengerUser{UserID: "u-1001"}, Filters: MessengerFilters{Status: "A", DataIni: "today-7d", DataFim: "today"}},
		func(v Vendors) handler[MessengerAlerts, AlertCount] { return countAlerts(v.AnnA) }),
}

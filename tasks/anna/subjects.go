package anna

// subjects names the user of a messenger task, as its payload does.
func subjects(u MessengerUser) []string {
	if u.UserID != "" {
		return []string{u.UserID}
	}
	return []string{u.UserDocValue}
}

package redisscript

// List reads element i as a list; nil if it is none.
func (r Reply) List(i int) Reply {
	list, _ := r.at(i).([]any)
	return list
}

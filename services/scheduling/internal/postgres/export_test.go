package postgres

// LockOf is for tests that are in the way of somebody.
var LockOf = lockOf

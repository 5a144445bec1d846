package booking

import "time"

// IsHoliday says whether the date is a national holiday of Brazil: those of Laws 662/1949, 6.802/1980, 9.093/1995,
// 10.607/2002 and 14.759/2023, and Good Friday. Carnival and Corpus Christi are optional days off, not holidays.
func IsHoliday(d Date) bool {
	year, month, dayOfMonth := d.Time().Date()
	switch [2]int{int(month), dayOfMonth} {
	case [2]int{1, 1}, // Confraternização Universal
		[2]int{4, 21},  // Tiradentes
		[2]int{5, 1},   // Dia do Trabalho
		[2]int{9, 7},   // Independência
		[2]int{10, 12}, // Nossa Senhora Aparecida
		[2]int{11, 2},  // Finados
		[2]int{11, 15}, // Proclamação da República
		[2]int{12, 25}: // Natal
		return true
	case [2]int{11, 20}: // Dia Nacional de Zumbi e da Consciência Negra
		return year >= 2024
	}
	return d == easter(year)-2 // Paixão de Cristo
}

// easter is Easter Sunday of the Gregorian calendar (anonymous algorithm of 1876, as given by J. Meeus,
// Astronomical Algorithms, chapter 8).
func easter(year int) Date {
	a, b, c := year%19, year/100, year%100
	d, e := b/4, b%4
	f := (b + 8) / 25
	g := (b - f + 1) / 3
	h := (19*a + b - d - g + 15) % 30
	i, k := c/4, c%4
	l := (32 + 2*e + 2*i - h - k) % 7
	m := (a + 11*h + 22*l) / 451
	n := h + l - 7*m + 114
	return NewDate(year, time.Month(n/31), n%31+1)
}

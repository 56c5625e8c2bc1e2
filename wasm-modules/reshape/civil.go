package main

import sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"

// appendTime appends a time given in microseconds. Package time would make the module a tenth larger.
func appendTime(dst []byte, us int64, f format) []byte {
	switch f {
	case millis:
		return sluice.AppendInt(dst, floor(us, 1000))
	case seconds:
		return sluice.AppendInt(dst, floor(us, 1_000_000))
	case iso:
		return appendISO(dst, us)
	}
	return sluice.AppendInt(dst, us)
}

func floor(a, b int64) int64 {
	if a >= 0 {
		return int64(uint64(a) / uint64(b)) // a division without signs is one instruction of WebAssembly, one with signs a call
	}
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// appendISO appends RFC 3339 in UTC, in quotes: "2026-01-01T00:00:00.000000Z".
func appendISO(dst []byte, us int64) []byte {
	second := floor(us, 1_000_000)
	day := floor(second, 86_400)
	year, month, date := civil(day)
	inDay := second - day*86_400
	dst = padded(append(dst, '"'), year, 4)
	dst = padded(append(dst, '-'), month, 2)
	dst = padded(append(dst, '-'), date, 2)
	dst = padded(append(dst, 'T'), inDay/3600, 2)
	dst = padded(append(dst, ':'), inDay/60%60, 2)
	dst = padded(append(dst, ':'), inDay%60, 2)
	dst = padded(append(dst, '.'), us-second*1_000_000, 6)
	return append(dst, 'Z', '"')
}

func padded(dst []byte, v int64, width int) []byte {
	for limit := int64(10); width > 1; width-- {
		if v < limit {
			for range width - 1 {
				dst = append(dst, '0')
			}
			break
		}
		limit *= 10
	}
	return sluice.AppendInt(dst, v)
}

// civil makes a date of a number of days since 1970-01-01: years begin in March here, so that the day that some years lack is the last.
func civil(days int64) (year, month, day int64) {
	days += 719_468 // since 0000-03-01
	era := floor(days, 146_097)
	ofEra := days - era*146_097
	yearOfEra := (ofEra - ofEra/1460 + ofEra/36_524 - ofEra/146_096) / 365
	ofYear := ofEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*ofYear + 2) / 153 // 0 = March
	day = ofYear - (153*shifted+2)/5 + 1
	month = shifted + 3
	if month > 12 {
		month -= 12
	}
	year = yearOfEra + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

-- 7: the labels that operators set on agents. A JSON object; NULL where there are none.

ALTER TABLE agents ADD COLUMN labels TEXT;
